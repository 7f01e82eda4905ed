package gate_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"keystay/internal/testca"
	_ "keystay/internal/xconnect" // HTTP/2 with extended CONNECT
	"keystay/remote/publish"
	"keystay/remote/publish/gate"
)

// A wire is a site with a gate for /admin in front of a service, for visitors that
// write what they like.
type wire struct {
	t  *testing.T
	ca *testca.CA
	at string

	mu  sync.Mutex
	got []string // what the service got: methods and targets
}

func newWire(t *testing.T) *wire {
	t.Helper()
	x := &wire{t: t, ca: testca.New(t)}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		x.mu.Lock()
		x.got = append(x.got, fmt.Sprintf("%s %s %q %q", r.Method, asGunicorn(r), r.Header["X-Forwarded-User"], r.Trailer))
		x.mu.Unlock()
	}))
	t.Cleanup(service.Close)
	u, _ := url.Parse(service.URL)
	g, err := gate.New(gate.Config{Name: name, Store: open(t, ""), Rules: []gate.Rule{{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind"), Header: true}}})
	if err != nil {
		t.Fatal(err)
	}
	c := publish.SiteConfig{Gate: g.Wrap, Routes: []publish.Route{{Path: "/", Target: &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.at = ln.Addr().String()
	srv := publish.NewSite(name, c).Server()
	go srv.Serve(publish.Visitors(handshaken{tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{x.ca.Issue(name)}, NextProtos: []string{"h2", "http/1.1"}})}))
	t.Cleanup(func() { srv.Close() })
	return x
}

// asGunicorn returns the path as Gunicorn reads it for visitors from its own host: without
// all up to the end of what SCRIPT_NAME says; and as Pyramid does behind it.
func asGunicorn(r *http.Request) string {
	path := r.RequestURI
	for name, values := range r.Header {
		if strings.ToUpper(name) == "SCRIPT_NAME" {
			_, path, _ = strings.Cut(path, values[0])
		}
	}
	return r.Header.Get("X-Vhm-Root") + path
}

func (x *wire) dial(protocol string) *tls.Conn {
	x.t.Helper()
	c, err := tls.Dial("tcp", x.at, &tls.Config{RootCAs: x.ca.Pool(), ServerName: name, NextProtos: []string{protocol}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// passed returns what has got to the service since, of /admin or for another host.
func (x *wire) passed() (bad []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.got {
		if strings.Contains(strings.ReplaceAll(strings.ToLower(r), " /x/admin", ""), "dmin") || // that one is open
			strings.Contains(r, "root") {
			bad = append(bad, r)
		}
	}
	x.got = nil
	return bad
}

// Whatever bytes of HTTP/1 a visitor writes, nothing gets past the gate, or makes a part
// of one request another one.
func TestNoBytesOfHTTP1GetPastAGate(t *testing.T) {
	x := newWire(t)
	const smuggled = "GET /admin/x HTTP/1.1\nHost: " + name + "\n\n"
	for _, text := range []string{
		"GET /admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET /admin HTTP/1.0\n\n",
		"GET http://" + name + "/admin HTTP/1.1\nHost: other.relay.test\n\n",
		"GET http://other.relay.test/admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET http:///admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET //" + name + "/admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET ?/../admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET /x HTTP/1.1\nHost: " + name + "\nX-Original-URL: /admin\nX-Rewrite-URL: /admin\nX_Rewrite_URL: /admin\nX-Forwarded-User: root\nX_Forwarded_User: root\n\n",
		// Gunicorn takes SCRIPT_NAME off the path, from whoever is on its own host.
		"GET /x/admin HTTP/1.1\nHost: " + name + "\nSCRIPT_NAME: /x\n\n",
		"GET /x/admin HTTP/1.1\nHost: " + name + "\nscript_name: /x\n\n",
		// Pyramid puts this in front of the path.
		"GET /x HTTP/1.1\nHost: " + name + "\nX-Vhm-Root: /admin\n\n",
		"OPTIONS * HTTP/1.1\nHost: " + name + "\n\n",
		"CONNECT " + name + ":443 HTTP/1.1\nHost: " + name + "\n\n" + smuggled,
		"CONNECT /admin HTTP/1.1\nHost: " + name + "\n:protocol: websocket\n\n",
		"GET /x HTTP/1.1\nHost: " + name + "\n:path: /admin\n\n",
		"PRI * HTTP/2.0\n\nSM\n\n" + smuggled,
		"GET /x HTTP/1.1 /admin HTTP/1.1\nHost: " + name + "\n\n",
		"GET /x\x0b/admin HTTP/1.1\nHost: " + name + "\n\n",
		// A refused request's body is no request, and nor is what a service gets as one.
		"POST /admin HTTP/1.1\nHost: " + name + "\nContent-Length: 5\n\nGET /" + "admin/x HTTP/1.1\nHost: " + name + "\n\n",
		"POST /x HTTP/1.1\nHost: " + name + "\nContent-Length: 6\nContent-Length: 5\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding: xchunked\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding : chunked\nContent-Length: 5\n\n0\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding:\x0bchunked\nContent-Length: 3\n\n0\n\n" + smuggled,
		"POST /x HTTP/1.0\nHost: " + name + "\nTransfer-Encoding: chunked\n\n0\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nX: y\n Transfer-Encoding: chunked\nContent-Length: 0\n\n" + smuggled,
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding: chunked\nTrailer: X-Forwarded-User\n\n1\nx\n0\nX-Forwarded-User: root\nX_Forwarded_User: root\nCookie: root\n\n",
		"POST /x HTTP/1.1\nHost: " + name + "\nTransfer-Encoding: chunked\nTrailer: Destination\n\n1\nx\n0\nDestination: /admin\nX-HTTP-Method-Override: root\nX_Amz_Copy_Source: /admin\n\n",
		"GET /x HTTP/1.1\nHost: " + name + "\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n\n" + smuggled,
		"GET /x HTTP/1.1\nHost: " + name + "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x\nSec-WebSocket-Version: 7\n\n" + smuggled,
		"GET /admin HTTP/1.1\nHost: " + name + "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x\n\n",
		"GET /x HTTP/1.1\nHost: " + name + "\nHost: other\n\n" + smuggled,
		"GET /x HTTP/1.1\nHost: " + name + "\nAuthorization: Basic cm9vdDp4\nConnection: Host, Authorization\n\n" + smuggled,
	} {
		c := x.dial("http/1.1")
		// The last request ends the connection, where it is one. A visitor that closes its
		// side is gone, and the service gets nothing.
		fmt.Fprint(c, strings.ReplaceAll(text+"GET /over HTTP/1.1\nHost: "+name+"\nConnection: close\n\n", "\n", "\r\n"))
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		answers, _ := io.ReadAll(c)
		if bad := x.passed(); len(bad) > 0 {
			t.Errorf("%q:\nthe service got %q\n%s", text, bad, answers)
		}
	}
	c := x.dial("http/1.1")
	fmt.Fprintf(c, "GET /admin HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic YWRhOndpbmQ=\r\nConnection: close\r\n\r\n", name)
	_, _ = io.ReadAll(c)
	if got := x.passed(); len(got) != 1 {
		t.Errorf("with a password the service got %q", got)
	}
}

// The same for HTTP/2: what its pseudo-fields say, in whatever form.
func TestNoFieldsOfHTTP2GetPastAGate(t *testing.T) {
	x := newWire(t)
	usual := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "https", ":authority", name}, more...)
	}
	for _, head := range [][]string{
		usual(":path", "/admin"), usual(":path", "//admin"), usual(":path", "/x/../admin"), usual(":path", "/ADMIN"), usual(":path", "admin"), usual(":path", "*"), usual(":path", "/x#/../admin"),
		usual(":path", "https://"+name+"/admin"), usual(":path", "/x /admin"), usual(":path", ""), usual(":path", "?/../admin"), usual(":path", `\admin`), usual(":path", "/admin\t"),
		usual(":path", "/x", ":path", "/admin"), usual(":path", "/x", "x-rewrite-url", "/admin"), usual(":path", "/x/admin", "script_name", "/x"), usual(":path", "/x", "x_forwarded_user", "root", "x-forwarded-user", "root"),
		usual(":path", "/x", "upgrade", "websocket", "connection", "upgrade"), usual(":path", "/admin", ":protocol", "websocket"), usual(":path", "/x", "transfer-encoding", "chunked"),
		usual(":path", "/x", "host", "other.relay.test"), usual(":path", "/admin", "host", name), usual(":path", "/admin", "x", "y\r\n\r\nGET /admin HTTP/1.1"),
		{":method", "GET", ":scheme", "https", ":authority", "other.relay.test", ":path", "/admin", "host", name},
		{":method", "GET", ":scheme", "https", ":authority", name + "/admin", ":path", "/admin"},
		{":method", "GET", ":scheme", "https", ":path", "/admin"}, {":method", "GET", ":scheme", "http", ":authority", name, ":path", "/admin"}, {":method", "GET", ":scheme", "https://" + name + "/admin?", ":authority", name, ":path", "/admin"},
		{":method", "CONNECT", ":authority", name, ":path", "/admin", ":scheme", "https", ":protocol", "websocket"},
		{":method", "CONNECT", ":authority", name, ":path", "/Admin/ws", ":scheme", "https", ":protocol", "websocket", "origin", "https://evil.test"},
		{":method", "CONNECT", ":authority", name, ":path", "/x/..%2fadmin", ":scheme", "https", ":protocol", "websocket"},
		{":method", "CONNECT", ":authority", name, ":path", "/admin", ":scheme", "https", ":protocol", "connect-udp"},
		{":method", "CONNECT", ":authority", name}, {":method", "CONNECT", ":authority", name, ":protocol", "websocket"},
		{":method", "GET /admin HTTP/1.1", ":scheme", "https", ":authority", name, ":path", "/x"}, {":method", "", ":scheme", "https", ":authority", name, ":path", "/admin"},
		{":method", "OPTIONS", ":scheme", "https", ":authority", name, ":path", "*"},
	} {
		c := x.dial("h2")
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(head); i += 2 {
			if err := enc.WriteField(hpack.HeaderField{Name: head[i], Value: head[i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprint(c, http2.ClientPreface)
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		for over := false; !over; { // the answer, or the stream's or the connection's end
			frame, err := f.ReadFrame()
			if err != nil {
				break
			}
			switch frame.(type) {
			case *http2.RSTStreamFrame, *http2.GoAwayFrame:
				over = true
			case *http2.HeadersFrame, *http2.DataFrame:
				over = frame.Header().Flags.Has(http2.FlagDataEndStream)
			}
		}
		c.Close()
		if bad := x.passed(); len(bad) > 0 {
			t.Errorf("%q:\nthe service got %q", head, bad)
		}
	}
}
