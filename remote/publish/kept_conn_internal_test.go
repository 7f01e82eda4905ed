package publish

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/testnet"
)

// keptPool is a visit's pool for s, as it is between two requests.
func keptPool(s *service) *pool {
	v := &visit{budgets: NewBudgets(0)}
	v.locals = v.budgets.locals.Share()
	p := v.begin(s)
	p.done()
	return p
}

// ask sends a request over a connection of p, and reads the answer.
func ask(t *testing.T, p *pool, method string) (reused bool) {
	t.Helper()
	c, reused, err := p.begin(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), method, "http://localhost/", http.NoBody)
	res, err := c.roundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(res.Body); string(text) != "ok" {
		t.Fatalf("the body is %q, %v", text, err)
	}
	return reused
}

// A connection is used for one request after the other, whatever the method, until the
// service ends it or says something that nobody has asked for.
func TestKeptConnectionIsUsedWhileTheServiceIsSilent(t *testing.T) {
	for name, next := range map[string]func(net.Conn){
		"it ends":           func(c net.Conn) { c.Close() },
		"it resets":         func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"it answers again":  func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged") },
		"it is out of time": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n"); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan net.Conn, 100)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(testnet.Accept(ln, func(c net.Conn) {
				conns <- c
				for in := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}))
			target := &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "tcp", Addresses: []string{ln.Addr().String()}}
			p := keptPool(newService(serviceKey{Target: target}, "x.test"))
			defer p.close()
			for i := range 3 {
				if reused := ask(t, p, "POST"); reused != (i > 0) {
					t.Errorf("request %d: on a connection that was used before: %v", i+1, reused)
				}
			}
			next(<-conns)
			for end := time.Now().Add(time.Minute); ; { // until it has arrived
				c, reused, err := p.begin(t.Context(), false)
				if err != nil || time.Now().After(end) {
					t.Fatal("the connection is still used", err)
				}
				p.keep(c)
				<-p.turns
				if !reused {
					break
				}
			}
			if !ask(t, p, "POST") {
				t.Error("the new connection is not kept")
			}
		})
	}
}

// A connection that no request uses is closed after a while, and with its visitor at
// once.
func TestKeptConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := keptPool(newService(serviceKey{Target: &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}}}, "x.test"))
		closed := func() (after time.Duration, when chan time.Duration) {
			near, far := net.Pipe()
			began, ended := time.Now(), make(chan time.Duration, 1)
			go func() {
				_, _ = far.Read(make([]byte, 1))
				ended <- time.Since(began)
			}()
			p.keep(newKeptConn(p, near))
			return localIdleTimeout, ended
		}
		if want, got := closed(); <-got != want {
			t.Errorf("it is not closed after %v", want)
		}
		_, got := closed()
		p.visit.end()
		if after := <-got; after != 0 {
			t.Errorf("it is closed %v after its visitor has gone", after)
		}
	})
}
