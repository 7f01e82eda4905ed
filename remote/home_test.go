package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/remote"
)

// atHome starts a device that takes visitors without a relay too.
func (r *fakeRelay) atHome(change func(*remote.Config)) (*remote.Listener, *memconn.Listener) {
	r.t.Helper()
	ln := r.start(change)
	home := memconn.Listen(&net.TCPAddr{IP: net.IPv4(192, 168, 1, 20), Port: 443})
	done := make(chan error, 1)
	go func() { done <- remote.ServeHome(remote.DeviceOf(ln), home) }()
	r.t.Cleanup(func() {
		home.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			r.t.Errorf("ServeHome: %v", err)
		}
	})
	return ln, home
}

// comes is a connection to the device's own address.
func comes(t *testing.T, home *memconn.Listener) *memconn.Conn {
	t.Helper()
	c, err := home.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// greets is comes with a handshake for a name.
func (r *fakeRelay) greets(home *memconn.Listener, name string, protos ...string) (*tls.Conn, error) {
	c := tls.Client(comes(r.t, home), &tls.Config{RootCAs: r.ca.Pool(), ServerName: name, NextProtos: protos})
	return c, c.Handshake()
}

// A visitor of the device's own address gets the name's certificate and its service, by
// its own address, also while no relay is there.
func TestAVisitorComesWithoutARelay(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(nil)
	r.close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		io.WriteString(c, c.RemoteAddr().String()+" says "+string(b))
		if err != nil {
			t.Error(err)
		}
	}()
	c, err := r.greets(home, domain)
	if err != nil {
		t.Fatal(err)
	}
	if d := remote.DeviceOf(ln); remote.HomeVisitors(d) != 1 || d.Visitors() != 1 || ln.Visitors() != 1 {
		t.Errorf("%d, %d and %d visitors", remote.HomeVisitors(d), d.Visitors(), ln.Visitors())
	}
	io.WriteString(c, "hello")
	c.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != c.LocalAddr().String()+" says hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()
	for remote.HomeVisitors(remote.DeviceOf(ln)) > 0 {
		runtime.Gosched()
	}
}

// Whoever asks for no name of the device, or in another language, is told as a relay
// would.
func TestWhoAsksForAnotherNameAtHomeIsToldSo(t *testing.T) {
	r := newRelay(t)
	_, home := r.atHome(nil)
	for _, name := range []string{"other.relay.test", "192.168.1.20", zone} {
		if _, err := r.greets(home, name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for said, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":               "HTTP/1.1 400 Bad Request\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n":              "",
		"\x16\x03\x01\x00\x04\x02\x00\x00\x00": "\x15\x03\x03\x00\x02\x02\x0a", // unexpected_message
	} {
		c := comes(t, home)
		io.WriteString(c, said)
		c.CloseWrite()
		if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), want) || want == "" && len(b) > 0 {
			t.Errorf("%q is answered %q", said, b)
		}
	}
}

// The rules of a name hold at home, and let a CA's validation pass.
func TestRulesHoldAtHome(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(func(c *remote.Config) {
		c.TLS = nil
		c.ACME.CA, c.ACME.Roots = "https://127.0.0.1:1/", r.ca.Pool() // nobody is there
		c.Deny = prefixes("192.0.2.0/24")
	})
	accepting(ln)
	if _, err := r.greets(home, domain, "h2"); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("a visitor: %v", err)
	}
	if _, err := r.greets(home, domain, "acme-tls/1"); err == nil || !strings.Contains(err.Error(), "internal error") { // there is no challenge
		t.Errorf("a validation: %v", err)
	}
}

// Behind tls:// a visitor comes with TLS, and the ends of both sides are kept.
func TestRawVisitorsAtHomeKeepTheirTLSAndTheirEnds(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(func(c *remote.Config) { c.TLS, c.Raw = nil, true })
	config := &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}}
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		tc := tls.Server(c, config)
		b, err := io.ReadAll(tc)
		io.WriteString(tc, strings.ToUpper(string(b)))
		tc.CloseWrite()
		served <- err
	}()
	c, err := r.greets(home, domain)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	c.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "HELLO" || err != nil || <-served != nil {
		t.Errorf("%q, %v", b, err)
	}

	one := comes(t, home)
	other := tls.Client(one, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain})
	go other.Handshake()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	one.Reset()
	if _, err := io.ReadAll(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the device reads %v, want a reset", err)
	}
	got.Close()
}

// The visitors at home count with those whom relays send, and beyond the limit nobody new
// is taken.
func TestVisitorsAtHomeAreBounded(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(func(c *remote.Config) { c.MaxVisitors = 2 })
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	link := r.next()
	first := link.visitor("http/1.1")
	<-accepted
	second, err := r.greets(home, domain)
	if err != nil {
		t.Fatal(err)
	}
	served := <-accepted
	if _, err := r.greets(home, domain); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many at home: %v", err)
	}
	s := link.open(domain, framing.KindTLS)
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many by the relay: %v", err)
	}
	second.Close()
	served.Close()
	for ln.Visitors() > 1 {
		runtime.Gosched()
	}
	if _, err := r.greets(home, domain); err != nil {
		t.Error(err)
	}
	first.Close()
}

// Who sends no hello takes the place of nobody who does: of those, the oldest goes.
func TestUnfinishedHellosAtHomeAreBounded(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(nil)
	accepting(ln)
	remote.MaxHellos(remote.DeviceOf(ln), 2)
	dial := func(from byte) net.Conn {
		t.Helper()
		c, err := home.DialFrom(t.Context(), &net.TCPAddr{IP: net.IPv4(198, 51, from, 1), Port: 4711})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	silent := dial(1)
	dial(1)
	for {
		c := tls.Client(dial(2), &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.Close()
		silent.SetReadDeadline(time.Now()) // has it gone by now?
		if _, err := silent.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) {
			return
		}
		dial(1) // perhaps the others have not been heard of yet
	}
}

// Close lets visitors at home finish, and Shutdown resets those who do not.
func TestShutdownCutsVisitorsAtHome(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(nil)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	idle := comes(t, home) // it sends nothing
	one, err := r.greets(home, domain)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.greets(home, domain)
	if err != nil {
		t.Fatal(err)
	}
	d := remote.DeviceOf(ln)
	d.Close()
	io.WriteString(one, "still")
	one.CloseWrite()
	if b, err := io.ReadAll(one); string(b) != "still" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("who says nothing is still there")
	}
	for remote.HomeVisitors(d) > 1 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- d.Shutdown(ctx) }()
	cancel()
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "1 of them") {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(other); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who was left reads %v, want a reset", err)
	}
	if _, err := home.Dial(t.Context()); err == nil {
		t.Error("the address is still there")
	}
}

// One name's listener that shuts down waits for its own visitors at home, and cuts no
// other's.
func TestAListenerCutsItsOwnVisitorsAtHome(t *testing.T) {
	r := newRelay(t)
	list := r.listenAll("one.relay.test", "two.relay.test")
	home := memconn.Listen(nil)
	done := make(chan struct{})
	go func() { defer close(done); remote.ServeHome(remote.DeviceOf(list[0]), home) }()
	t.Cleanup(func() { home.Close(); <-done })
	var visitors []*tls.Conn
	for _, ln := range list {
		go func() {
			if c, err := ln.Accept(); err == nil {
				io.Copy(c, c)
				c.Close()
			}
		}()
		c, err := r.greets(home, ln.Domain())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "x")
		io.ReadFull(c, make([]byte, 1))
		visitors = append(visitors, c)
	}
	if err := list[0].Shutdown(expired()); err == nil {
		t.Error("nobody was cut")
	}
	if _, err := io.ReadAll(visitors[0]); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its visitor reads %v, want a reset", err)
	}
	io.WriteString(visitors[1], "y")
	if _, err := io.ReadFull(visitors[1], make([]byte, 1)); err != nil {
		t.Errorf("the other's visitor: %v", err)
	}
}
