package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
	"keystay/internal/testnet"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// own is a server of the operator's: it gives each connection to the test.
func own(t *testing.T) (addr string, conns <-chan *net.TCPConn) {
	t.Helper()
	ln := listenTCP(t)
	c := make(chan *net.TCPConn, 16)
	t.Cleanup(testnet.Accept(ln, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(patience))
		c <- conn.(*net.TCPConn)
		<-t.Context().Done()
	}))
	return ln.Addr().String(), c
}

// gets reads exactly what is wanted.
func gets(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v; want %q", b[:n], err, want)
	}
}

// proxyV1 is the header of version 1 for a connection of this test.
func proxyV1(c net.Conn) string {
	from, to := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
	return fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", from.IP, to.IP, from.Port, to.Port)
}

// A visitor of a name that the operator serves itself, or of one that is nobody's here,
// reaches the operator's server with every byte that it has sent, behind the header that
// the server wants. Names below the zone that nobody has are refused all the same.
func TestVisitorsReachTheOperatorsServers(t *testing.T) {
	static, ofStatic := own(t)
	below, ofBelow := own(t)
	other, ofOther := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{
			Static: []relay.Fixed{{Name: "mail.relay.test", To: static}, {Name: "*.apps.relay.test", To: below, ProxyProtocol: 1},
				{Name: "one.apps.relay.test", To: static}},
			Fallback: relay.Fixed{To: other, ProxyProtocol: 2},
		})
	})
	r.device(newIdentity(t), "a.relay.test").echo("a")
	r.reaches("a.relay.test", "a")
	r.refused("nobody.relay.test", unrecognizedName)
	r.refused("apps.relay.test", unrecognizedName)
	for _, v := range []struct {
		name    string
		to      <-chan *net.TCPConn
		version int
	}{
		{"mail.relay.test", ofStatic, 0},
		{"MAIL.relay.test.", ofStatic, 0},
		{"one.apps.relay.test", ofStatic, 0},
		{"two.apps.relay.test", ofBelow, 1},
		{"x.two.apps.relay.test", ofBelow, 1},
		{"www.example.com", ofOther, 2},
		{"", ofOther, 2},
		{"192.0.2.1", ofOther, 2},
	} {
		c := r.dial()
		hello := helloFor(t, v.name)
		c.Write(append(hello, "more"...))
		server := <-v.to
		switch v.version {
		case 1:
			gets(t, server, proxyV1(c))
		case 2:
			from, to := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
			n := 12
			if v.name == "www.example.com" {
				n += 3 + len(v.name) // PP2_TYPE_AUTHORITY
			}
			gets(t, server, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00"+string([]byte{byte(n)})+string(from.IP.To4())+string(to.IP.To4())+
				string([]byte{byte(from.Port >> 8), byte(from.Port), byte(to.Port >> 8), byte(to.Port)}))
			if n > 12 {
				gets(t, server, "\x02\x00"+string([]byte{byte(len(v.name))})+v.name)
			}
		}
		gets(t, server, string(hello)+"more")
		io.WriteString(server, "answer")
		gets(t, c, "answer")
		c.CloseWrite() // each end is passed on by itself
		if rest, err := io.ReadAll(server); len(rest) > 0 || err != nil {
			t.Errorf("%s: %q, %v", v.name, rest, err)
		}
		io.WriteString(server, "and on")
		server.CloseWrite()
		if rest, err := io.ReadAll(c); string(rest) != "and on" || err != nil {
			t.Errorf("%s: %q, %v", v.name, rest, err)
		}
	}
	text := r.metrics()
	for _, want := range []string{`keystay_fixed_visitors_total{to="static"} 5`, `keystay_fixed_visitors_total{to="fallback"} 3`, "keystay_visitors_total 1"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// A reset on one side of the operator's server is a reset on the other one.
func TestResetsPassTheOperatorsServers(t *testing.T) {
	addr, conns := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Static: []relay.Fixed{{Name: "mail.relay.test", To: addr}}})
	})
	for _, ofVisitor := range []bool{true, false} {
		c := r.dial()
		hello := helloFor(t, "mail.relay.test")
		c.Write(hello)
		server := <-conns
		gets(t, server, string(hello))
		io.WriteString(server, "x")
		gets(t, c, "x")
		from, to := net.Conn(c), net.Conn(server)
		if !ofVisitor {
			from, to = to, from
		}
		socket.Abort(from)
		if _, err := io.ReadAll(to); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reset by the visitor %v: the other side got %v", ofVisitor, err)
		}
	}
}

// Where the operator's server does not answer, or is the relay itself, the visitor is
// told at once, and the log says so once.
func TestOperatorsServerThatDoesNotAnswer(t *testing.T) {
	gone := testnet.Reserve(t)
	r := newRig(t, nil)
	front := relay.Front{Static: []relay.Fixed{{Name: "gone.relay.test", To: gone.String()}, {Name: "loop.relay.test", To: r.public},
		{Name: "deep.relay.test", To: r.public, ProxyProtocol: 2}}}
	r.srv.SetFront(front)
	for range 3 {
		r.refused("gone.relay.test", internalError)
		r.refused("loop.relay.test", internalError)
	}
	r.refused("deep.relay.test", "") // its header is not believed
	for _, to := range []string{"to=" + gone.String(), `err="it leads back to this relay`} {
		r.waitForLog(to)
		if n := strings.Count(r.log.String(), to); n != 1 {
			t.Errorf("the log has %q %d times:\n%s", to, n, r.log)
		}
	}
	for start := time.Now(); r.srv.Visitors() > 0; runtime.Gosched() {
		if time.Since(start) > patience {
			t.Fatalf("%d visitors are left", r.srv.Visitors())
		}
	}
}

// A visitor goes round no circle, where a name of the operator's leads to the proxy that
// stands before the relay.
func TestOperatorsNameThatLeadsToTheProxyBeforeTheRelay(t *testing.T) {
	r := proxiedRig(t, limits.Config{})
	ln := listenTCP(t)
	var came atomic.Int32
	t.Cleanup(testnet.Accept(ln, func(in net.Conn) {
		defer in.Close()
		if came.Add(1) > 3 {
			return
		}
		out := r.dial()
		defer out.Close()
		out.Write(v2(t, in.RemoteAddr().String(), 0))
		go io.Copy(out, in)
		io.Copy(in, out)
	}))
	r.srv.SetFront(relay.Front{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.9.0/24")},
		Static: []relay.Fixed{{Name: "loop.relay.test", To: ln.Addr().String()}}})
	c := r.dial()
	c.Write(append(v2(t, "203.0.113.7:4711", 0), helloFor(t, "loop.relay.test")...))
	io.Copy(io.Discard, c)
	if n := came.Load(); n != 1 {
		t.Errorf("the visitor came to the proxy %d times, want once", n)
	}
}

// A name of the operator's is nobody's to claim, and no device that has it gets its
// visitors.
func TestStaticNamesCannotBeClaimed(t *testing.T) {
	addr, conns := own(t)
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "post.relay.test").echo("device")
	r.reaches("post.relay.test", "device")
	rules := names.Rules{Static: []string{"post.relay.test", "*.apps.relay.test", "www.example.com"}}
	r.srv.Names.SetRules(rules)
	r.srv.SetFront(relay.Front{Static: []relay.Fixed{{Name: "post.relay.test", To: addr}}})
	c := r.dial()
	c.Write(helloFor(t, "post.relay.test"))
	gets(t, <-conns, string(helloFor(t, "post.relay.test"))[:5])
	for name, code := range map[string]framing.DenialCode{
		"post.relay.test": framing.DeniedTaken, "x.apps.relay.test": framing.DeniedTaken, "www.example.com": framing.DeniedTaken,
		"x.post.relay.test": framing.DeniedToken, "apps.relay.test": framing.DeniedToken,
	} {
		denied(t, d.Claim(t.Context(), framing.Claim{Name: name}), code)
	}
}

// The server that drains lets visitors of the operator's servers finish.
func TestShutdownWaitsForVisitorsOfTheOperator(t *testing.T) {
	addr, conns := own(t)
	r := newRig(t, func(s *relay.Server) { s.SetFront(relay.Front{Fallback: relay.Fixed{To: addr}}) })
	c := r.dial()
	c.Write(helloFor(t, "www.example.com"))
	server := <-conns
	gets(t, server, string(helloFor(t, "www.example.com"))[:5])
	over := make(chan error, 1)
	go func() { over <- r.srv.Shutdown(t.Context()) }()
	if err := <-r.served; err != relay.ErrServerClosed {
		t.Error(err)
	}
	r.served <- relay.ErrServerClosed
	io.WriteString(server, "the end")
	gets(t, c, "the end")
	select {
	case err := <-over:
		t.Errorf("it ended before: %v", err)
	default:
	}
	c.CloseWrite()
	server.CloseWrite()
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// On port 80 names of the operator's own servers go to https, or to its server of plain
// HTTP, which learns who asks.
func TestPort80OfTheOperatorsServers(t *testing.T) {
	tlsServer, _ := own(t)
	var first lockedBuffer // of what reaches the server of plain HTTP
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s for %s, of %s", r.Method, r.URL.Path, r.Host, r.Header.Get("X-Forwarded-For"))
	}))
	defer web.Close()
	ln := listenTCP(t)
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) { // it wants a header
		b := make([]byte, 6)
		io.ReadFull(c, b)
		first.Write(b)
		for b[5] != '\n' {
			io.ReadFull(c, b[5:])
			first.Write(b[5:])
		}
		out, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			return
		}
		defer out.Close()
		go io.Copy(out, c)
		io.Copy(c, out)
	}))
	gone := testnet.Reserve(t)
	r := newRig(t, func(s *relay.Server) {
		s.PublicPort = 443
		s.SetFront(relay.Front{
			Static: []relay.Fixed{{Name: "mail.relay.test", To: tlsServer}, {Name: "web.relay.test", To: tlsServer, HTTP: web.Listener.Addr().String()},
				{Name: "gone.relay.test", To: tlsServer, HTTP: gone.String()}},
			Fallback: relay.Fixed{To: tlsServer, HTTP: ln.Addr().String(), ProxyProtocol: 1},
		})
	})
	get, addr := r.plain()
	for _, c := range []struct {
		host, path, answer string
		status             int
	}{
		{"mail.relay.test", "/x", "", 308},
		{"mail.relay.test", "/.well-known/acme-challenge/x", "", 404},
		{"web.relay.test", "/.well-known/acme-challenge/x", "GET /.well-known/acme-challenge/x for web.relay.test, of 127.0.0.1", 200},
		{"WEB.relay.test", "/y", "GET /y for WEB.relay.test, of 127.0.0.1", 200},
		{"www.example.com", "/z", "GET /z for www.example.com, of 127.0.0.1", 200},
		{"192.0.2.1", "/", "GET / for 192.0.2.1, of 127.0.0.1", 200},
		{"gone.relay.test", "/", "the server of this name cannot be reached now\n", 502},
		{"nobody.relay.test", "/", "", 404},
	} {
		resp, body := get(c.host, c.path)
		if resp.StatusCode != c.status || c.answer != "" && body != c.answer {
			t.Errorf("%s%s: %s, %q", c.host, c.path, resp.Status, body)
		}
	}
	if text := first.String(); strings.Count(text, "PROXY TCP4 127.0.0.1 127.0.0.1 ") != 2 {
		t.Errorf("headers: %q", text)
	}
	r.srv.SetFront(relay.Front{Static: []relay.Fixed{{Name: "loop.relay.test", To: tlsServer, HTTP: addr}}})
	if resp, _ := get("loop.relay.test", "/"); resp.StatusCode != 502 {
		t.Errorf("a loop: %s", resp.Status)
	}
}

// A request that names no host is for the address that it has come to, and never for the
// one that the operator's server has: that may be a name with rights there. Of a wish to
// go on with another protocol nothing is left.
func TestPort80PassesOnWhatWasAskedFor(t *testing.T) {
	asked := make(chan *http.Request, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r }))
	defer web.Close()
	tlsServer, _ := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Fallback: relay.Fixed{To: tlsServer, HTTP: web.Listener.Addr().String()}})
	})
	_, addr := r.plain()
	for request, host := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n": addr,
		"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close, Upgrade\r\nUpgrade: x\r\n\r\n": "www.example.com",
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, request)
		if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), " 200 ") {
			t.Fatalf("%q: %.80q, %v", request, b, err)
		}
		got := <-asked
		if got.Host != host || got.Header.Get("Upgrade") != "" || strings.Contains(strings.Join(got.Header["Connection"], ","), "Upgrade") {
			t.Errorf("%q: for %s, %v; want %s", request, got.Host, got.Header, host)
		}
	}
}

// No target of a request and no method chooses another host at the operator's server than
// the one that the relay has read, and what only a front may say is the relay's to say. All
// else passes byte by byte, over one connection.
func TestPort80GivesTheOperatorsServerNothingButPaths(t *testing.T) {
	ln := listenTCP(t)
	got := make(chan string, 1)
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) {
		var head []byte
		for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b...) {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
		got <- string(head)
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}))
	tlsServer, _ := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Static: []relay.Fixed{{Name: "web.relay.test", To: tlsServer, HTTP: ln.Addr().String()}}})
	})
	_, addr := r.plain()
	for _, v := range []struct{ request, line, status string }{
		{"GET x:http://evil.test/admin HTTP/1.1", "", "400"},
		{"GET http:http://web.relay.test/ HTTP/1.1", "", "400"},
		{"GET http:/a HTTP/1.1", "", "400"},
		{"GET ftp://web.relay.test/ HTTP/1.1", "", "400"},
		{"GET http://u@web.relay.test/ HTTP/1.1", "", "400"},
		{"GET /a#b HTTP/1.1", "", "400"},
		{"GET * HTTP/1.1", "", "400"},
		{"OPTIONS x:* HTTP/1.1", "", "400"},
		{"CONNECT web.relay.test:80 HTTP/1.1", "", "405"},
		{"TRACE / HTTP/1.1", "", "405"},
		{"trace / HTTP/1.1", "", "405"},
		{"GET http://web.relay.test/a%2Fb|?q HTTP/1.1", "GET /a%2Fb|?q HTTP/1.1", "204"},
		{"GET http://web.relay.test?q HTTP/1.1", "GET /?q HTTP/1.1", "204"},
		{"GET //evil.test/x HTTP/1.1", "GET //evil.test/x HTTP/1.1", "204"},
		{"GET /%zz?%zz;a HTTP/1.1", "", "400"},
		{"GET /a?%zz;a&b=c HTTP/1.1", "GET /a?%zz;a&b=c HTTP/1.1", "204"},
		{"GET /{id}?? HTTP/1.1", "GET /{id}?? HTTP/1.1", "204"},
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "%s\r\nHost: web.relay.test\r\nX_Forwarded_For: 8.8.8.8\r\nX-Real-IP: 8.8.8.8\r\nTrue-Client-IP: 8.8.8.8\r\nForwarded: for=8.8.8.8\r\nX-Mine: 1\r\nConnection: close\r\n\r\n", v.request)
		b, err := io.ReadAll(c)
		if _, rest, _ := strings.Cut(string(b), " "); !strings.HasPrefix(rest, v.status+" ") || err != nil {
			t.Errorf("%s: %.60q, %v; want %s", v.request, b, err, v.status)
		}
		c.Close()
		select {
		case head := <-got:
			line, fields, _ := strings.Cut(head, "\r\n")
			if line != v.line || !strings.Contains(fields, "Host: web.relay.test\r\n") || strings.Contains(fields, "8.8.8.8") ||
				!strings.Contains(fields, "X-Forwarded-For: 127.0.0.1\r\n") || !strings.Contains(fields, "X-Mine: 1\r\n") {
				t.Errorf("%s: the server gets %q", v.request, head)
			}
		default:
			if v.line != "" {
				t.Errorf("%s: the server gets nothing", v.request)
			}
		}
	}
}

// A browser of today is sent to https with its method and body; an older one, and a
// program, by the status that each of them follows.
func TestRedirectFitsTheClient(t *testing.T) {
	r := newRig(t, nil)
	_, addr := r.plain()
	r.device(newIdentity(t), "a.relay.test")
	for _, v := range []struct {
		request, agent string
		status         int
	}{
		{"GET / HTTP/1.1", "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", 308},
		{"POST / HTTP/1.1", "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", 308},
		{"GET / HTTP/1.1", "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", 301},
		{"GET / HTTP/1.1", "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1)", 301},
		{"GET / HTTP/1.0", "Mozilla/5.0", 301},
		{"HEAD / HTTP/1.1", "Wget/1.11", 301},
		{"POST / HTTP/1.1", "Wget/1.11", 308},
		{"GET / HTTP/1.1", "Wget/1.25.0", 308},
		{"GET / HTTP/1.1", "curl/8.14.1", 308},
		{"GET / HTTP/1.1", "", 308},
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\r\nHost: a.relay.test\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n", v.request, v.agent)
		b, err := io.ReadAll(c)
		if _, rest, _ := strings.Cut(string(b), " "); !strings.HasPrefix(rest, fmt.Sprint(v.status, " ")) || err != nil {
			t.Errorf("%s by %q: %.40q, %v; want %d", v.request, v.agent, b, err, v.status)
		}
		c.Close()
	}
}

// Visitors of the operator's servers count for their addresses, from their beginning to
// their end.
func TestVisitorsOfTheOperatorAreCounted(t *testing.T) {
	addr, conns := own(t)
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Connections: 1, ConnectionRate: noRate}})
	r.srv.SetFront(relay.Front{Static: []relay.Fixed{{Name: "post.relay.test", To: addr}}})
	c := r.from("127.0.1.1").dial()
	hello := string(helloFor(t, "post.relay.test"))
	io.WriteString(c, hello)
	server := <-conns
	gets(t, server, hello)
	if over, err := r.dialFrom("127.0.1.1"); err == nil { // else it is reset by now
		closed(t, over)
	}
	c.CloseWrite()
	server.CloseWrite()
	closed(t, c)
	for start := time.Now(); r.srv.CountedConnections() > 0; runtime.Gosched() {
		if time.Since(start) > patience {
			t.Fatal("it counts for ever")
		}
	}
}
