package publish_test

import (
	"bufio"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"keystay/internal/page"
	"keystay/remote/publish"
)

// Each request counts once, by the class of its answer, whoever gives that: the service,
// a handler, the gate, or the site itself; and a switch of protocols, and no answer at all.
func TestRequestsAreCountedByTheClassOfTheirAnswer(t *testing.T) {
	service := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			w.WriteHeader(http.StatusFound)
		case "/fails":
			w.WriteHeader(http.StatusBadGateway)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "behind it")
		case "/switch":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	})
	var counts publish.Counts
	site := publish.NewSite(domain, publish.SiteConfig{
		Counts: &counts,
		Routes: []publish.Route{{Path: "/", Target: service}, {Path: "/text", Handler: publish.Text("hello")},
			{Path: "/breaks", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}},
		Gate: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/kept" {
					(&page.Page{Status: http.StatusUnauthorized, Title: "no"}).Write(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	p := serve(t, site.Server())
	for _, c := range []struct {
		request string
		class   int
	}{
		{"GET / HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 2},
		{"GET /text HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 2},
		{"GET /early HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 2},
		{"GET /moved HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 3},
		{"GET /kept HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 4},
		{"GET / HTTP/1.1\nHost: other.test\nConnection: close\n\n", 4},
		{"GET /fails HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n", 5},
	} {
		before := all(&counts)
		resp := p.raw(c.request)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		want := before
		want[c.class]++
		counted(t, &counts, c.request, want)
	}
	before := all(&counts)
	tc := p.visitor("http/1.1")
	io.WriteString(tc, "GET /breaks HTTP/1.1\r\nHost: "+domain+"\r\n\r\n")
	if b, err := io.ReadAll(tc); len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	before[0]++
	counted(t, &counts, "no answer", before)

	tc = p.visitor("http/1.1")
	io.WriteString(tc, "GET /switch HTTP/1.1\r\nHost: "+domain+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(tc), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	tc.Close()
	before[1]++
	counted(t, &counts, "a switch that is over", before)
}

// counted waits until the counts are those: a visitor has its answer before it is over.
func counted(t *testing.T, c *publish.Counts, what string, want [6]int64) {
	t.Helper()
	for end := time.Now().Add(patience); all(c) != want; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: %v, want %v", what, all(c), want)
		}
	}
}

func all(c *publish.Counts) (n [6]int64) {
	for i := range n {
		n[i] = c.Class(i)
	}
	return n
}
