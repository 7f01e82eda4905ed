package folder_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/testnet"
	"keystay/remote/publish/folder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

// long is a time long past, so that files have validators.
var long = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// write puts files into a folder, by their paths, each modified long ago.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, long, long); err != nil {
			t.Fatal(err)
		}
	}
}

// settle waits until files that were just written have validators.
func settle() { <-time.After(150 * time.Millisecond) }

// site is a folder with these files, below a folder with a secret beside it.
func site(t testing.TB, o folder.Options, files map[string]string) (*folder.Folder, string) {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "site")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, top, map[string]string{"secret.txt": secret, "site-other/secret.txt": secret})
	write(t, dir, files)
	f, err := folder.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

// secret is what must never be served.
const secret = "top secret"

// ask sends a request, with pairs of a header and its value.
func ask(f http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "https://xyz.relay.test/", nil)
	if u, err := url.ParseRequestURI(target); err == nil { // as net/http's server does
		r.URL = u
	} else {
		r.URL.Path = target // as a handler in front may leave it
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(f, r)
}

func serve(f http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func get(f http.Handler, target string, header ...string) *http.Response {
	return ask(f, "GET", target, header...)
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A logbook is a log that tests read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
