package publish_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"keystay/remote/publish"
)

// serviceConn is the key of a service's own connection in a request's context.
type serviceConn struct{}

// connService is a service that knows its connections, and tells of those that
// have ended.
func connService(t *testing.T, h http.HandlerFunc) (addr net.Addr, ended chan net.Conn) {
	ended = make(chan net.Conn, 100)
	local := httptest.NewUnstartedServer(h)
	local.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, serviceConn{}, c)
	}
	local.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- c
		}
	}
	local.Start()
	t.Cleanup(local.Close)
	return local.Listener.Addr(), ended
}

func get(t *testing.T, c *http.Client, header ...string) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequest("GET", "https://"+domain, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	return resp, body(t, resp, err)
}

// A service that takes the connection for the login, as with NTLM, serves
// whoever has logged in on it, and nobody else.
func TestLoginOfAConnectionStaysWithItsVisitor(t *testing.T) {
	var mu sync.Mutex
	user := make(map[net.Conn]string)
	addr, _ := connService(t, func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(serviceConn{}).(net.Conn)
		mu.Lock()
		defer mu.Unlock()
		if name := r.Header.Get("Authorization"); name != "" {
			user[c] = name
		}
		if user[c] == "" {
			w.Header().Set("WWW-Authenticate", "NTLM")
			w.WriteHeader(401)
			return
		}
		fmt.Fprint(w, "hello ", user[c])
	})
	p := serveTarget(t, tcpTarget("http", addr))
	both(t, func(t *testing.T, h2 bool) {
		alice, bob := p.client(h2), p.client(h2)
		if _, text := get(t, alice, "Authorization", "alice"); text != "hello alice" {
			t.Errorf("alice logs in: %q", text)
		}
		if resp, text := get(t, bob); resp.StatusCode != 401 {
			t.Errorf("bob, without a login: %s %q", resp.Status, text)
		}
		if _, text := get(t, bob, "Authorization", "bob"); text != "hello bob" {
			t.Errorf("bob logs in: %q", text)
		}
		if _, text := get(t, alice); text != "hello alice" {
			t.Errorf("alice, on the connection of her login: %q", text)
		}
	})
}

// When a visitor's connection ends, so do those to the service that were for it.
func TestLocalConnectionsEndWithTheVisitor(t *testing.T) {
	addr, ended := connService(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%p", r.Context().Value(serviceConn{}))
	})
	p := serveTarget(t, tcpTarget("http", addr))
	both(t, func(t *testing.T, h2 bool) {
		visitor, other := p.client(h2), p.client(h2)
		_, conn := get(t, visitor)
		get(t, other)
		visitor.CloseIdleConnections()
		select {
		case c := <-ended:
			if got := fmt.Sprintf("%p", c); got != conn {
				t.Errorf("connection %s has ended, not %s", got, conn)
			}
		case <-time.After(patience):
			t.Error("the connection to the service stays")
		}
		other.CloseIdleConnections()
		<-ended
	})
}

// One visitor's connection has a bounded number of connections to the service.
// Requests beyond wait for one, and each is answered.
func TestLocalConnectionsOfAVisitorAreBounded(t *testing.T) {
	const requests = 100
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	full := make(chan struct{})
	var once sync.Once
	addr, _ := connService(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.Context().Value(serviceConn{}).(net.Conn)] = true
		if len(conns) >= publish.MaxLocalConns {
			once.Do(func() { close(full) })
		}
		mu.Unlock()
		<-full
		fmt.Fprint(w, "served")
	})
	client := serveTarget(t, tcpTarget("http", addr)).client(true)
	get := func(wg *sync.WaitGroup) {
		defer wg.Done()
		resp, err := client.Get("https://" + domain)
		if text := body(t, resp, err); text != "served" {
			t.Errorf("%s %q", resp.Status, text)
		}
	}
	var wg sync.WaitGroup
	wg.Add(requests)
	for range requests {
		go get(&wg)
	}
	wg.Wait()
	if len(conns) != publish.MaxLocalConns {
		t.Errorf("%d connections to the service, want %d", len(conns), publish.MaxLocalConns)
	}
}

// A visitor that leaves while it waits for a connection to the service takes
// its place in the row along.
func TestWaitingForALocalConnectionEndsWithTheRequest(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, publish.MaxLocalConns)
	addr, _ := connService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "HEAD" {
			t.Error("the request of the visitor who left arrived")
		}
		arrived <- struct{}{}
		<-release
	})
	client := serveTarget(t, tcpTarget("http", addr)).client(true)
	var wg sync.WaitGroup
	for range publish.MaxLocalConns {
		wg.Go(func() {
			resp, err := client.Get("https://" + domain)
			body(t, resp, err)
		})
	}
	for range publish.MaxLocalConns {
		<-arrived
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "HEAD", "https://"+domain, nil)
	gone := make(chan error)
	go func() {
		_, err := client.Do(req)
		gone <- err
	}()
	cancel()
	if err := <-gone; err == nil {
		t.Error("the request was answered")
	}
	behind, _ := http.NewRequest("GET", "https://"+domain, nil)
	behind.Host = "other.test" // which is answered without the service, when all before it is heard
	if resp, err := client.Do(behind); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	close(release)
	wg.Wait()
}

// A handler outside of Target.Server knows no visitors: no connection to the
// service outlives its request.
func TestHandlerAloneKeepsNoConnection(t *testing.T) {
	addr, ended := connService(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })
	front := httptest.NewServer(tcpTarget("http", addr).Handler(domain))
	defer front.Close()
	req, _ := http.NewRequest("GET", front.URL, nil)
	req.Host = domain
	resp, err := front.Client().Do(req)
	if text := body(t, resp, err); text != "served" {
		t.Fatalf("%s %q", resp.Status, text)
	}
	<-ended
}
