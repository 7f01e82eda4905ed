package publish_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// careless is a service that answers a request by its head alone: it leaves bodies unread, and
// takes them for the next request of the connection, as Python's http.server does. It tells
// the request lines, and "end" when it closes a connection. With a config it speaks TLS.
func careless(t *testing.T, config *tls.Config) (addr net.Addr, told <-chan string) {
	asked := make(chan string, 100)
	return testnet.Serve(t, func(c net.Conn) {
		if config != nil {
			c = tls.Server(c, config)
			defer c.Close()
		}
		ignore(asked, c)
	}), asked
}

func ignore(asked chan<- string, c net.Conn) {
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
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
		if strings.EqualFold(h.Get("Connection"), "close") {
			c.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, in.R) // a reset because of what is unread may overtake the answer
			return
		}
	}
}

// smuggled is what a visitor would not be let say in a request of its own.
const smuggled = "GET /photos/secret HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"

// A body that a service leaves unread is no request to it: nothing here has seen that.
func TestBodyIsNoRequestToTheService(t *testing.T) {
	cert := testca.New(t).Issue("localhost")
	for _, c := range []struct {
		scheme string
		config *tls.Config
	}{
		{"http", nil},
		{"https", &tls.Config{Certificates: []tls.Certificate{cert}}},
		{"https", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}},
	} {
		for _, head := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "QUERY", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket"} {
			method, more, _ := strings.Cut(head, " / HTTP/1.1")
			for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)} {
				addr, told := careless(t, c.config)
				target := tcpTarget(c.scheme, addr)
				target.Insecure = true
				p := serveTarget(t, target)
				v := p.visitor("http/1.1")
				io.WriteString(v, method+" /open/ HTTP/1.1\r\nHost: "+domain+more+"\r\n"+framing)
				if _, err := http.ReadResponse(bufio.NewReader(v), &http.Request{Method: method}); err != nil {
					t.Errorf("%s: %v", method, err)
				}
				if line := <-told; !strings.HasPrefix(line, method+" /open/ ") {
					t.Errorf("the service is asked %q", line)
				}
				if line := <-told; line != "end" {
					t.Errorf("%s, %s, %q: the service takes more for a request: %q", c.scheme, head, framing[:20], line)
				}
				v.Close()
			}
		}
	}
}

// The same holds where a service spoke HTTP/2 so far, in which a body is never a request.
func TestBodyIsNoRequestToAServiceThatGivesHTTP2Up(t *testing.T) {
	cert := testca.New(t).Issue("localhost")
	asked := make(chan string, 100)
	var old atomic.Bool
	addr := testnet.Serve(t, func(c net.Conn) {
		config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
		if old.Load() {
			config.NextProtos = []string{"http/1.1"}
		}
		tc := tls.Server(c, config)
		defer tc.Close()
		if tc.Handshake(); tc.ConnectionState().NegotiatedProtocol != "h2" {
			ignore(asked, tc)
			return
		}
		goAway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
		new(http2.Server).ServeConn(tc, &http2.ServeConnOpts{Handler: goAway}) //nolint:staticcheck // the test chooses what each connection speaks
	})
	p := serveTarget(t, insecureTarget(addr))
	client := p.client(false)
	if resp, text := get(t, client); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, text)
	}
	old.Store(true)
	for range 2 {
		resp, err := client.Post("https://"+domain+"/open/", "", strings.NewReader(smuggled))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		for line := ""; line != "POST /open/ HTTP/1.1"; line = <-asked { // a connection that is not as expected ends before
			if line != "" && line != "end" {
				t.Fatalf("the service is asked %q", line)
			}
		}
		if line := <-asked; line != "end" {
			t.Errorf("the service takes more for a request: %q", line)
		}
	}
}

// A body that was kept back from a connection of HTTP/1 is sent once, over the one of HTTP/2
// that the transport finds for it.
func TestABodyThatWasKeptBackIsSentOnce(t *testing.T) {
	var conns, posts atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "POST" {
			posts.Add(1)
		}
	})
	addr := tlsService(t, testca.New(t), handler, func(c *tls.Config) {
		old := c.Clone()
		old.NextProtos = []string{"http/1.1"}
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if conns.Add(1) == 1 {
				return old, nil
			}
			return nil, nil
		}
	}, "localhost")
	p := serveTarget(t, insecureTarget(addr))
	a, b := p.client(true), p.client(true)
	for _, client := range []*http.Client{a, b} { // over HTTP/1.1, and over HTTP/2
		if resp, text := get(t, client); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, text)
		}
	}
	resp, err := a.Post("https://"+domain+"/order", "text/plain", strings.NewReader("one"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if n := posts.Load(); n != 1 || conns.Load() != 3 {
		t.Errorf("the service gets the one POST %d times, over %d connections", n, conns.Load())
	}
}

// A request with a body may take a connection that is there, to which a login may belong. It
// is the last one on it over HTTP/1.
func TestUploadIsTheLastOnItsConnection(t *testing.T) {
	for _, c := range []struct {
		service string
		config  func(*tls.Config)
		want    string
	}{
		{"http", nil, "1 1 1 2 2 3"},
		{"https", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, "1 1 1 2 2 3"},
		{"https", nil, "1 1 1 1 1 1"}, // over HTTP/2
	} {
		var last, n int
		seen := make(map[string]int)
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if seen[r.RemoteAddr] == 0 {
				n++
				seen[r.RemoteAddr] = n
			}
			last = seen[r.RemoteAddr]
		})
		var target *publish.Target
		if c.service == "http" {
			local := httptest.NewServer(handler)
			t.Cleanup(local.Close)
			target = tcpTarget("http", local.Listener.Addr())
		} else {
			target = insecureTarget(tlsService(t, testca.New(t), handler, c.config, "localhost"))
		}
		p := serveTarget(t, target)
		v := p.visitor("http/1.1")
		in := bufio.NewReader(v)
		var got []string
		for _, request := range []string{"GET / HTTP/1.1\nHost: $H\n\n", "POST / HTTP/1.1\nHost: $H\nContent-Length: 0\n\n", "POST / HTTP/1.1\nHost: $H\nContent-Length: 2\n\n\n", "GET / HTTP/1.1\nHost: $H\n\n", "PUT / HTTP/1.1\nHost: $H\nContent-Length: 2\n\n\n", "GET / HTTP/1.1\nHost: $H\n\n"} {
			io.WriteString(v, crlf(request))
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			got = append(got, strconv.Itoa(last))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: the connections are %v, want %s", c.service, got, c.want)
		}
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

// A visitor whose request is answered before its body has come goes on with the connection,
// where the head of the answer says its end.
func TestConnectionGoesOnBehindABodyThatComesAfterTheAnswer(t *testing.T) {
	for service, begin := range early(t) {
		if !strings.HasPrefix(service, "length") && !strings.HasPrefix(service, "no") || strings.HasPrefix(service, "not HTTP") {
			continue
		}
		target, _ := begin()
		v := serveTarget(t, target).visitor("http/1.1")
		in := bufio.NewReader(v)
		for i := range 3 {
			io.WriteString(v, "POST /open/ HTTP/1.1\r\nHost: "+domain+"\r\nContent-Length: 5\r\n\r\n")
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode/100 != 2 || res.Close {
				t.Fatalf("%s, request %d: %+v, %v", service, i, res, err)
			}
			io.Copy(io.Discard, res.Body)
			io.WriteString(v, "12345")
		}
	}
}

// An answer without a length comes to its end whatever is missing of the request's body, which
// its visitor may keep back until then.
func TestAnswerEndsBeforeTheBodyHasCome(t *testing.T) {
	for _, head := range []string{"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "Content-Length: 2\r\n\r\nno", "Connection: close\r\n\r\nno"} {
		addr := testnet.Serve(t, func(c net.Conn) {
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\n"+head)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, in)
		})
		v := serveTarget(t, tcpTarget("http", addr)).visitor("http/1.1")
		io.WriteString(v, "POST /open/ HTTP/1.1\r\nHost: "+domain+"\r\nContent-Length: 5\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(v), nil)
		if err != nil {
			t.Fatal(head, err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "no" {
			t.Errorf("%q: %q, %v", head, b, err)
		}
	}
}
