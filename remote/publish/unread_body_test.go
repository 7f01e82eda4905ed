package publish_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"

	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// careless is a service that answers a request by its head alone: it leaves bodies unread, and
// takes them for the next request of the connection, as Python's http.server does. It tells
// the request lines, and "end" when it closes a connection.
func careless(t *testing.T) (addr net.Addr, told <-chan string) {
	asked := make(chan string, 100)
	return testnet.Serve(t, func(c net.Conn) {
		defer func() { asked <- "end" }()
		in := textproto.NewReader(bufio.NewReader(c))
		for {
			line, err := in.ReadLine()
			if err != nil {
				return
			}
			h, err := in.ReadMIMEHeader()
			if err != nil {
				return
			}
			asked <- line
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil || strings.EqualFold(h.Get("Connection"), "close") {
				return
			}
		}
	}), asked
}

// A body that a service leaves unread is no request to it: no gate and no route has seen that.
func TestBodyIsNoRequestToTheService(t *testing.T) {
	const inner = "GET /photos/secret HTTP/1.1\r\nHost: " + domain + "\r\n\r\n"
	gate := func(next http.Handler) http.Handler { return next }
	for _, c := range []struct {
		method, more string
		route        string
		gate         func(http.Handler) http.Handler
		changes      publish.HeaderChanges
		host         string
	}{
		{method: "GET", route: "/open/"},
		{method: "GET", route: "/"},
		{method: "HEAD", route: "/"},
		{method: "OPTIONS", route: "/"},
		{method: "DELETE", route: "/"},
		{method: "GET", more: "Connection: Upgrade\r\nUpgrade: websocket\r\n", route: "/"},
		{method: "POST", route: "/open/"},
		{method: "PUT", route: "/", gate: gate},
		{method: "PATCH", route: "/", gate: gate},
		{method: "QUERY", route: "/", gate: gate},
		{method: "POST", route: "/", changes: publish.HeaderChanges{Remove: []string{"X-Role"}}},
		{method: "POST", route: "/", host: "app.internal"},
	} {
		for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)} {
			addr, told := careless(t)
			target := tcpTarget("http", addr)
			target.HostHeader = c.host
			p := serve(t, publish.NewSite(domain, publish.SiteConfig{Gate: c.gate, Routes: []publish.Route{{Path: c.route, Target: target, Request: c.changes}}}).Server())
			v := p.visitor("http/1.1")
			io.WriteString(v, c.method+" /open/ HTTP/1.1\r\nHost: "+domain+"\r\n"+c.more+framing)
			if _, err := http.ReadResponse(bufio.NewReader(v), &http.Request{Method: c.method}); err != nil {
				t.Errorf("%s: %v", c.method, err)
			}
			if line := <-told; !strings.HasPrefix(line, c.method+" /open/ ") {
				t.Errorf("the service is asked %q", line)
			}
			if line := <-told; line != "end" {
				t.Errorf("%s %s, %q: the service takes more for a request: %q", c.method, c.route, c.more+framing[:20], line)
			}
			v.Close()
		}
	}
}

// Where all of a service is for everybody, a request with a body that it has to read keeps
// the connection: a login may belong to that.
func TestUploadKeepsTheConnectionOfAnOpenService(t *testing.T) {
	var conns atomic.Int32
	addr := testnet.Serve(t, func(c net.Conn) {
		conns.Add(1)
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := serveTarget(t, tcpTarget("http", addr))
	v := p.visitor("http/1.1")
	in := bufio.NewReader(v)
	for range 2 {
		io.WriteString(v, crlf("POST / HTTP/1.1\nHost: $H\nContent-Length: 2\n\n\n"))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("two requests take %d connections", n)
	}
}

// Of a body of unknown length nobody reads on beside the sending of the head: its end fills in
// the trailers, whose names are looked at there.
func TestTrailersAreFilledInBehindTheHead(t *testing.T) {
	addr := testnet.Serve(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%v %v", r.TransferEncoding, r.Trailer)
	})
	p := serveTarget(t, tcpTarget("http", addr))
	for announced, want := range map[bool]string{true: "[chunked] map[X-Sum:[1]]", false: "[] map[]"} {
		body, sends := io.Pipe()
		r, _ := http.NewRequest("GET", "https://"+domain+"/", body)
		if announced {
			r.Trailer = http.Header{"X-Sum": {"1"}}
		}
		sends.Close()
		resp, err := p.client(true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(resp.Body); string(got) != want {
			t.Errorf("the service gets %s, want %s", got, want)
		}
	}
}
