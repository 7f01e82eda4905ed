package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// The inspector works in both browsers: on a wide screen and on a phone, light and dark,
// with the keyboard alone and without script. axe-core finds nothing, and the page asks
// nobody else. With KEYSTAY_SOAK each browser does all of it; with KEYSTAY_SCREENSHOTS
// what it showed is kept.
func TestInspectorInBrowsers(t *testing.T) {
	checkPage(t, "inspect.mjs", "inspector", func(t *testing.T) map[string]any {
		i := startInspected(t)
		i.traffic()
		t.Cleanup(i.visitTicks())
		return map[string]any{"page": i.page}
	})
}

// An inspected remote is the remote's program with --inspect, behind the relay's.
type inspected struct {
	t      *testing.T
	page   string // of the inspector, with its token
	client *http.Client
	base   string // what is published
	remote *world.Process
}

func startInspected(t *testing.T) *inspected {
	t.Helper()
	ca, dir := testca.New(t), t.TempDir()
	site := httptest.NewServer(inspectedSite())
	t.Cleanup(site.Close)
	_, addr := world.StartRelayProgram(t, ca, dir, "127.0.0.1:0", "127.0.0.1:0")
	name := "shop." + world.Zone
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := ca.Files(t.TempDir(), name)
	file := write("remote.yaml", fmt.Appendf(nil, `services: [{domain: %s, local: %q, cert: %q, key: %q}]
relay: [%s]
relay_address: [%q]
relay_root: %q
state_dir: state
probe: {mode: "off"}
ct: "off"
inspect: on
`, name, site.URL, cert, key, world.Zone, addr, write("root.pem", ca.PEM())))
	p := world.Start(t, []string{"HOME=" + dir}, "remote", "--config", file)
	page := strings.TrimSpace(p.Find(`(?m)^inspector (http://127\.0\.0\.1:\d+/\S+/)$`))
	p.Find(`(?m)^(https://\S+) -> `)
	tr := &http.Transport{DisableCompression: true, DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: name}}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &inspected{t, page, &http.Client{Transport: tr, Timeout: world.Patience}, "https://" + name, p}
}

// do sends a visitor's request and returns the answer's body.
func (i *inspected) do(method, path, body string, header ...string) string {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	resp, err := i.client.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(b)
}

// traffic is what visitors do on a day.
func (i *inspected) traffic() {
	t := i.t
	t.Helper()
	i.do("GET", "/", "", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Cookie", "session=6fe1c0ffee", "Accept-Encoding", "gzip")
	i.do("POST", "/sign-in", "user=ada&password=Wind+%26+water&remember=on", "Content-Type", "application/x-www-form-urlencoded")
	i.do("GET", "/api/orders?page=2", "", "Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9", "Accept", "application/json")
	i.do("POST", "/hooks/payment", `{"id":"evt_1","type":"payment.succeeded","data":{"amount":4200,"currency":"eur"}}`, "Content-Type", "application/json", "X-Signature", "t=1,v1=5257a869e7")
	i.do("POST", "/hooks/payment", `{"id":"evt_2","type":"payment.failed","data":{"amount":900,"currency":"eur"}}`, "Content-Type", "application/json", "X-Signature", "t=2,v1=13d1f0a4c9")
	i.do("GET", "/nothing-here", "")
	i.do("GET", "/logo.png", "")
	i.do("GET", "/events", "", "Accept", "text/event-stream")
	i.do("POST", "/greet.Greeter/Hello", "\x00\x00\x00\x00\x05\n\x03ada", "Content-Type", "application/grpc", "Te", "trailers")
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, i.base+"/chat", &websocket.DialOptions{HTTPClient: i.client, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"say":"hello"}`, `{"say":"hello again, and a text that is long enough to be compressed: hello hello hello hello hello hello hello hello hello"}`} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != text {
			t.Fatal(string(b), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Fatal(err)
	}
}

// visitTicks is a visitor who stays until it is told to leave.
func (i *inspected) visitTicks() (leave func()) {
	ctx, cancel := context.WithCancel(i.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+"/ticks", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: i.client.Transport}).Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
	}()
	return func() {
		cancel()
		<-done
	}
}

// inspectedSite is a service with answers of many kinds.
func inspectedSite() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, "<!DOCTYPE html>\n<title>A shop</title>\n<p>Welcome to the shop.\n")
		z.Close()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Set-Cookie", "session=a1b2c3; HttpOnly; Secure")
		w.Write(b.Bytes())
	})
	mux.HandleFunc("POST /sign-in", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusSeeOther) })
	mux.HandleFunc("GET /api/orders", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"page":2,"orders":[{"id":17,"total":"42.00","paid":true},{"id":18,"total":"9.00","paid":false}]}`)
	})
	mux.HandleFunc("POST /hooks/payment", func(w http.ResponseWriter, r *http.Request) {
		var event struct{ ID, Type string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil || event.Type == "payment.failed" && r.Header.Get("X-Keystay-Replay") == "" {
			http.Error(w, "no such order", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"received": event.ID})
	})
	mux.HandleFunc("GET /logo.png", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		w.Write([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01"))
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "event: price\ndata: {\"item\":%d,\"price\":\"%d.50\"}\n\n", n, 9-n)
			http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("GET /ticks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: tick %d\n\n", n)
			http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /greet.Greeter/Hello", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, "\x00\x00\x00\x00\x0c\n\nhello ada!")
		w.Header().Set("Grpc-Status", "0")
	})
	mux.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	})
	return mux
}
