// Package websockets_test looks at what browsers do where a server takes extended
// CONNECT. It is a package of its own, since all HTTP/2 servers of its process do.
package websockets_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"keystay/e2e/internal/browser"
	"keystay/internal/testca"
	_ "keystay/internal/xconnect"
	"keystay/remote/publish"
)

// Chromium and Firefox open a WebSocket in the HTTP/2 connection that they have, and
// the service, which speaks HTTP/1.1, does what it always does.
func TestBrowsersOpenWebSocketsOverHTTP2(t *testing.T) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			b, err := browser.Find(kind)
			if err != nil {
				if os.Getenv("KEYSTAY_SKIP_BROWSERS") != "" {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			opens(t, b)
		})
	}
}

// opens lets a browser do all that the page of package browser does.
func opens(t *testing.T, b browser.Browser) {
	const host = "xyz.relay.test"
	ca := testca.New(t)
	b.CA, b.Hosts = ca.PEM(), []string{host}
	var page browser.Site
	service := httptest.NewServer(&page)
	defer service.Close()
	u, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var visitors []string // of WebSockets: what they speak
	site := publish.NewSite(host, publish.SiteConfig{
		Routes: []publish.Route{{Path: "/", Target: &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}}},
		Gate: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") == "websocket" {
					mu.Lock()
					visitors = append(visitors, r.Proto)
					mu.Unlock()
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := site.Server()
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ca.Issue(host)}, NextProtos: []string{"h2", "http/1.1"}}))
	}()
	defer func() { srv.Close(); <-served }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := b.Screenshot(t.Context(), "https://"+host+":"+port+"/", filepath.Join(t.TempDir(), "page.png")); err != nil {
		t.Fatal(err)
	}
	select {
	case report := <-page.Reports():
		if err := report.Err(); err != nil {
			t.Error(err)
		}
	default:
		t.Error("the page did not run")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(visitors) != 1 || visitors[0] != "HTTP/2.0" {
		t.Errorf("WebSockets were opened over %v", visitors)
	}
}
