package publish_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/socket"
	"keystay/internal/testca"
	"keystay/remote/publish"
)

// frame is a WebSocket's frame of a visitor (RFC 6455, section 5.2), masked with
// nothing.
func frame(opcode byte, text string) []byte {
	return append([]byte{0x80 | opcode, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

// connect is an extended CONNECT for a WebSocket; more are lines of fields.
func (v *h2Visitor) connect(more string) {
	v.headers(":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /ws?a=b\nsec-websocket-version: 13\n"+more, false)
}

// next is the next frame of the stream but for those about the connection: the
// fields, "DATA …", or an end.
func (v *h2Visitor) next() string {
	var b strings.Builder
	for {
		f, err := v.fr.ReadFrame()
		if err != nil {
			return "<" + err.Error() + ">"
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				v.fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name != "date" {
					b.WriteString(h.Name + ": " + h.Value + "\n")
				}
			}
			return b.String()
		case *http2.DataFrame:
			if len(f.Data()) > 0 {
				return "DATA " + string(f.Data())
			}
			if f.StreamEnded() {
				return "END"
			}
		case *http2.RSTStreamFrame:
			return "RST " + f.ErrCode.String()
		}
	}
}

// echoes is a service that sends back what comes over a WebSocket, and tells of the
// request that opened it.
func echoes(got chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprintln(r.Method, r.RequestURI, r.Proto, r.Host, r.Header["Upgrade"], r.Header["Connection"], r.Header["X-Forwarded-For"], r.Header["Cookie"], r.Header["Origin"], r.ContentLength)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, strings.TrimSuffix(accept(r), "\r\n")+"Sec-WebSocket-Protocol: chat\r\n\r\n")
		for head := make([]byte, 6); ; { // all are short, and masked with nothing
			if _, err := io.ReadFull(rw, head); err != nil {
				return
			}
			text := make([]byte, head[1]&0x7f)
			io.ReadFull(rw, text)
			c.Write(append([]byte{head[0], head[1] & 0x7f}, text...))
			if head[0]&0xf == 8 {
				return
			}
		}
	}
}

// A visitor opens a WebSocket over HTTP/2 (RFC 8441), and the service sees one over
// HTTP/1.1, whatever it prefers.
func TestWebSocketOverHTTP2(t *testing.T) {
	got := make(chan string, 1)
	targets := map[string]*publish.Target{
		"http":  handlerTarget(t, echoes(got)),
		"https": insecureTarget(tlsService(t, testca.New(t), echoes(got), nil, "localhost")),
	}
	for kind, target := range targets {
		v := newH2Visitor(t, serveTarget(t, target))
		for range 2 { // one after the other, on one connection
			v.connect("sec-websocket-protocol: chat\norigin: https://$H\ncookie: a=b\nsec-websocket-key: mine")
			if saw, want := <-got, "GET /ws?a=b HTTP/1.1 "+domain+" [websocket] [Upgrade] [8.8.4.4] [a=b] [https://"+domain+"] 0\n"; saw != want {
				t.Errorf("%s: the service sees %q, want %q", kind, saw, want)
			}
			if head := v.next(); head != ":status: 200\nsec-websocket-protocol: chat\n" {
				t.Fatalf("%s: the visitor gets %q", kind, head)
			}
			for _, text := range []string{"hello", "again"} {
				v.fr.WriteData(v.stream, false, frame(1, text))
				if echo := v.next(); echo != "DATA \x81\x05"+text {
					t.Errorf("%s: the echo is %q", kind, echo)
				}
			}
			v.fr.WriteData(v.stream, true, frame(8, "\x03\xe8"))
			if last := v.next(); last != "DATA \x88\x02\x03\xe8" {
				t.Errorf("%s: the close is answered with %q", kind, last)
			}
			if end := v.next(); end != "END" {
				t.Errorf("%s: the end is %q", kind, end)
			}
			v.stream += 2
		}
	}
}

// accept is the answer of a service that switches.
func accept(r *http.Request) string {
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + publish.AcceptOf(r.Header.Get("Sec-Websocket-Key")) + "\r\n\r\n"
}

// switches is a service that opens a WebSocket and gives its connection away.
func switches(conns chan<- *net.TCPConn) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, accept(r))
		conns <- c.(*net.TCPConn)
	}
}

// How a side of a WebSocket ends, the other side is told: in good order, or broken
// off.
func TestEndsOfAWebSocketOverHTTP2(t *testing.T) {
	conns := make(chan *net.TCPConn, 1)
	v := newH2Visitor(t, serveTarget(t, handlerTarget(t, switches(conns))))
	open := func() net.Conn {
		v.connect("")
		c := <-conns
		if head := v.next(); head != ":status: 200\n" {
			t.Fatalf("the visitor gets %q", head)
		}
		return c
	}
	read := func(c net.Conn) string {
		b := make([]byte, 10)
		n, err := c.Read(b)
		if err != nil && err != io.EOF {
			err = net.ErrClosed // a reset
		}
		return fmt.Sprint(string(b[:n]), err)
	}

	c := open()
	v.fr.WriteData(v.stream, true, []byte("end"))
	if got := read(c); got != "end<nil>" {
		t.Errorf("the service reads %q", got)
	}
	if got := read(c); got != "EOF" {
		t.Errorf("the visitor's end is %q to the service", got)
	}
	io.WriteString(c, "more") // after the visitor's end
	if got := v.next(); got != "DATA more" {
		t.Errorf("then the visitor gets %q", got)
	}
	c.Close()
	if got := v.next(); got != "END" {
		t.Errorf("the service's end is %q to the visitor", got)
	}
	v.stream += 2

	c = open()
	io.WriteString(c, "last")
	c.Close()
	if got := v.next() + v.next() + v.next(); got != "DATA lastENDRST NO_ERROR" {
		t.Errorf("the service ends first, and the visitor gets %q", got)
	}
	v.stream += 2

	c = open()
	v.fr.WriteRSTStream(v.stream, http2.ErrCodeCancel)
	if got := read(c); got != net.ErrClosed.Error() {
		t.Errorf("the visitor's reset is %q to the service", got)
	}
	c.Close()
	v.stream += 2

	c = open()
	socket.Abort(c)
	if got := v.next(); !strings.HasPrefix(got, "RST ") || strings.Contains(got, "NO_ERROR") {
		t.Errorf("the service's reset is %q to the visitor", got)
	}
}

// A request that is no WebSocket gets an answer that says so, never one of success.
func TestConnectThatOpensNothing(t *testing.T) {
	answers := map[string]string{
		"/plain":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/login":  "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
		"/away":   "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"/wrong":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
		"/other":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
		"/nobody": "HTTP/1.1 204 No Content\r\n\r\n",
	}
	target := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(c, answers[r.URL.Path])
		c.Close()
	})
	site := publish.NewSite(domain, publish.SiteConfig{Routes: []publish.Route{
		{Path: "/", Target: target}, {Path: "/text", Handler: publish.Text("hello")},
	}})
	v := newH2Visitor(t, serve(t, site.Server()))
	for _, row := range []struct{ fields, want string }{
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /plain", "501"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /nobody", "501"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /login", "403"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /away", "302"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /wrong", "502"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /other", "502"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /text", "501"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /a/../text", "400"},
		{":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: evil.test\n:path: /plain", "421"},
		{":method: CONNECT\n:protocol: connect-udp\n:scheme: https\n:authority: $H\n:path: /plain", "501"},
		{":method: CONNECT\n:protocol: h2c\n:scheme: https\n:authority: $H\n:path: /plain", "501"},
		{":method: GET\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /plain", "400"},
		{":method: CONNECT\n:authority: $H:443", "405"},
	} {
		v.headers(row.fields, false)
		head := v.next()
		if !strings.HasPrefix(head, ":status: "+row.want+"\n") || strings.Contains(head, "sec-websocket") || strings.Contains(head, "upgrade") {
			t.Errorf("%q: the visitor gets %q, want %s", row.fields, head, row.want)
		}
		for end := head; !strings.HasPrefix(end, "RST"); end = v.next() { // since the request has no end
			if strings.HasPrefix(end, "<") {
				t.Fatal(end)
			}
		}
		v.stream += 2
	}
}

// A visitor's connection may have so many WebSockets, and then there is still room for
// its requests.
func TestWebSocketsLeaveRoomForRequests(t *testing.T) {
	conns := make(chan *net.TCPConn, publish.MaxTunnels)
	v := newH2Visitor(t, serveTarget(t, handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "served")
			return
		}
		switches(conns)(w, r)
	})))
	for range publish.MaxTunnels {
		v.connect("")
		defer (<-conns).Close()
		if head := v.next(); head != ":status: 200\n" {
			t.Fatalf("the visitor gets %q", head)
		}
		v.stream += 2
	}
	v.connect("")
	if head := v.next(); !strings.HasPrefix(head, ":status: 503\n") {
		t.Errorf("one more: %q", head)
	}
	for v.next() != "RST NO_ERROR" {
	}
	for range publish.MaxVisitorStreams - publish.MaxTunnels {
		v.stream += 2
		v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
		if got := v.next() + v.next(); !strings.HasSuffix(got, "DATA served") {
			t.Fatalf("a request gets %q", got)
		}
	}
}

// Bytes of a WebSocket go through in both directions at once, whatever their number.
func TestManyBytesThroughAWebSocketOverHTTP2(t *testing.T) {
	conns := make(chan *net.TCPConn, 1)
	v := newH2Visitor(t, serveTarget(t, handlerTarget(t, switches(conns))))
	v.connect("")
	c := <-conns
	defer c.Close()
	go io.Copy(c, c)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	const chunks = 500 // 8 MB
	v.fr.WriteWindowUpdate(0, chunks*uint32(len(chunk)))
	v.fr.WriteWindowUpdate(v.stream, chunks*uint32(len(chunk)))
	go func() {
		for range chunks { // within the connection's window
			v.fr.WriteData(v.stream, false, chunk)
		}
	}()
	var got bytes.Buffer
	for got.Len() < chunks*len(chunk) {
		switch f, err := v.fr.ReadFrame(); f := f.(type) {
		case nil:
			t.Fatal(err)
		case *http2.DataFrame:
			got.Write(f.Data())
		}
	}
	if want := bytes.Repeat(chunk, chunks); !bytes.Equal(got.Bytes(), want) {
		t.Error("the bytes have changed")
	}
}

// A visitor may go at any moment: what a service sends then goes nowhere.
func TestVisitorLeavesAWebSocketOverHTTP2ThatSends(t *testing.T) {
	v := newH2Visitor(t, serveTarget(t, handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, accept(r))
		for err == nil {
			_, err = io.WriteString(c, "more")
		}
	})))
	v.fr.WriteWindowUpdate(0, 1<<30)
	for range 400 {
		v.connect("")
		v.fr.WriteWindowUpdate(v.stream, 1<<30)
		for {
			f, err := v.fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := f.(*http2.RSTStreamFrame); ok && f.StreamID == v.stream {
				t.Fatalf("the WebSocket is reset: %v", f.ErrCode)
			}
			if f, ok := f.(*http2.DataFrame); ok && f.StreamID == v.stream {
				break
			}
		}
		v.fr.WriteRSTStream(v.stream, http2.ErrCodeCancel)
		v.stream += 2
	}
}

// A WebSocket whose service has gone is reset, and does not wait for a visitor that
// takes nothing.
func TestServiceLeavesAWebSocketOverHTTP2ThatTakesNothing(t *testing.T) {
	t.Parallel() // for five seconds, it waits for an early answer
	conns := make(chan *net.TCPConn, 1)
	v := newH2Visitor(t, serveTarget(t, handlerTarget(t, switches(conns))))
	v.connect("")
	c := <-conns
	go c.Write(make([]byte, 16<<20)) // more than anything on the way takes
	for range 5 {                    // 64 KB, with the head: as much as the visitor lets it send
		v.next()
	}
	socket.Abort(c)
	for {
		v.fr.WriteData(v.stream, false, []byte("x"))
		if got := v.next(); strings.HasPrefix(got, "RST ") {
			return
		} else if strings.HasPrefix(got, "<") {
			t.Fatal(got)
		}
	}
}
