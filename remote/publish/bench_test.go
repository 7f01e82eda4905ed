package publish_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"keystay/remote/publish"
	"keystay/remote/publish/inspect"
)

// BenchmarkSmallRequests is one visitor's small requests on a connection that
// stays open, one after the other: without an inspector, and with one whose page
// nobody looks at.
func BenchmarkSmallRequests(b *testing.B) {
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello")
	}))
	defer local.Close()
	for _, name := range []string{"http1.1", "h2", "http1.1-inspected", "h2-inspected"} {
		b.Run(name, func(b *testing.B) {
			config := publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: tcpTarget("http", local.Listener.Addr())}}}
			kind, inspected := strings.CutSuffix(name, "-inspected")
			proto := map[string]string{"http1.1": "http/1.1", "h2": "h2"}[kind]
			if in := new(inspect.Inspector); inspected {
				config.Inspect = func(next http.Handler) http.Handler { return in.Wrap(domain, next) }
			}
			p := serve(b, publish.NewSite(domain, config).Server())
			tr := &http.Transport{ForceAttemptHTTP2: proto == "h2", DisableCompression: true}
			tr.DialTLSContext = func(context.Context, string, string) (net.Conn, error) { return p.visitor(proto), nil }
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr}
			req, _ := http.NewRequest("GET", "https://"+domain+"/", nil)
			for name, value := range map[string]string{"Accept": "*/*", "Accept-Language": "en", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "sec-ch-ua": "x", "sec-ch-ua-mobile": "?0", "Cookie": "a=b; c=d", "Referer": "https://" + domain + "/"} {
				req.Header[name] = []string{value}
			}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

// BenchmarkSmallUploads is one visitor's requests with a body of 1 KiB on a connection that
// stays open, one after the other, to a service over HTTP/1.1.
func BenchmarkSmallUploads(b *testing.B) {
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	}))
	defer local.Close()
	body := strings.Repeat("x", 1<<10)
	for _, h2 := range []bool{false, true} {
		b.Run(map[bool]string{false: "http1.1", true: "h2"}[h2], func(b *testing.B) {
			p := serveTarget(b, tcpTarget("http", local.Listener.Addr()))
			client := p.client(h2)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Post("https://"+domain, "application/octet-stream", strings.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
