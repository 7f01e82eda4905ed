package folder_test

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"keystay/remote/publish/folder"
)

// A file that becomes shorter while it is sent never looks whole, over HTTP/1.1 and
// HTTP/2.
func TestFileThatShrinksDoesNotLookWhole(t *testing.T) {
	for name, h2 := range map[string]bool{"http1": false, "http2": true} {
		t.Run(name, func(t *testing.T) {
			f, dir := site(t, folder.Options{}, nil)
			p := filepath.Join(dir, "film.mp4")
			if err := os.WriteFile(p, make([]byte, 64<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewUnstartedServer(f)
			srv.EnableHTTP2 = h2
			srv.StartTLS()
			defer srv.Close()
			for _, part := range []string{"", "bytes=1-", "bytes=0-1000000,2000000-60000000"} {
				req := httptest.NewRequest("GET", srv.URL+"/film.mp4", nil)
				req.RequestURI = ""
				if part != "" {
					req.Header.Set("Range", part)
				}
				if err := os.Truncate(p, 64<<20); err != nil {
					t.Fatal(err)
				}
				res, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if res.ProtoMajor == 2 != h2 {
					t.Fatal(res.Proto)
				}
				if err := os.Truncate(p, 1<<20); err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err == nil {
					t.Errorf("%q: %d bytes look whole", part, n)
				}
			}
		})
	}
}

// Reading a large file takes no more memory than a small one, and leaves no file
// open.
func TestLargeFileTakesLittleMemory(t *testing.T) {
	f, dir := site(t, folder.Options{}, nil)
	const size = 256 << 20
	p := filepath.Join(dir, "large.bin")
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p, size); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(f)
	defer srv.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := srv.Client().Get(srv.URL + "/large.bin")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	runtime.ReadMemStats(&after)
	if n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("%d KiB were taken for 256 MiB", took>>10)
	}
}

// descriptors is how many files are open.
func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// A lookingWriter counts the open files while the first bytes of an answer are written.
type lookingWriter struct {
	*httptest.ResponseRecorder
	t    *testing.T
	open int
}

// Write implements io.Writer.
func (w *lookingWriter) Write(p []byte) (int, error) {
	if w.open == 0 {
		w.open = descriptors(w.t)
	}
	return w.ResponseRecorder.Write(p)
}

// WriteString implements io.StringWriter.
func (w *lookingWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// A visitor may take as long as it likes for a file: meanwhile that file is open, and
// nothing else. For a list of files nothing is.
func TestAnswerHasOneFileOpen(t *testing.T) {
	f, _ := site(t, folder.Options{Listing: true}, map[string]string{"a/b.js": "b", "a/b.js.gz": "gz"})
	ask(f, "GET", "/a/b.js") // the runtime opens some for itself, once
	before := descriptors(t)
	for target, more := range map[string]int{"/a/b.js": 1, "/a/": 0} {
		w := &lookingWriter{ResponseRecorder: httptest.NewRecorder(), t: t}
		f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://xyz.relay.test"+target, nil))
		if w.Code != http.StatusOK || w.open != before+more {
			t.Errorf("%s: status %d, %d files are open, %d were before", target, w.Code, w.open, before)
		}
	}
}

// However requests end, no file stays open.
func TestNoFileStaysOpen(t *testing.T) {
	open := func() int { return descriptors(t) }
	f, dir := site(t, folder.Options{Listing: true, SPA: true}, map[string]string{"a/b.js": "b", "a/b.js.gz": "gz", "index.html": "top", "d/e/f.js": "f"})
	link(t, dir, "a/up.js", "../d/e/../e/f.js")
	link(t, dir, "a/e", "../d/e/..")
	link(t, dir, "a/out", "../d/../..")
	link(t, dir, "a/loop", "../d/../a/loop")
	before := open()
	for range 50 {
		for _, target := range []string{"/", "/a/", "/a", "/a/b.js", "/a/up.js", "/a/e/e/", "/a/e/e/f.js", "/a/e/e/none.js", "/d/e/f.js/x", "/a/out/x", "/a/loop", "/none", "/none.js", "/.x"} {
			ask(f, "GET", target, "Accept-Encoding", "gzip")
			ask(f, "HEAD", target, "If-None-Match", "*")
			ask(f, "GET", target, "Range", "bytes=99-")
		}
	}
	if after := open(); after > before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}

// A large file arrives byte by byte.
func TestFileArrivesAsItIs(t *testing.T) {
	f, dir := site(t, folder.Options{}, nil)
	data := make([]byte, 3<<20+17)
	rand.Read(data)
	write(t, dir, map[string]string{"a.bin": string(data)})
	srv := httptest.NewUnstartedServer(f)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + "/a.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := body(t, res); got != string(data) {
		t.Errorf("%d bytes of %d, or others", len(got), len(data))
	}
}

func BenchmarkSmallFile(b *testing.B) {
	for name, path := range map[string]string{"plain": "", "never": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			var o folder.Options
			if path != "" {
				o.Never = folder.NewNever(path)
				defer o.Never.Close()
			}
			f, _ := site(b, o, map[string]string{"assets/js/app.js": "js"})
			r := httptest.NewRequest("GET", "https://xyz.relay.test/assets/js/app.js", nil)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				f.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
