//go:build unix

package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// Nobody is refused and nobody cut while one relay follows another: not those
// in the middle of their hello or of a transfer, not those in between.
func TestOneRelayFollowsAnotherAndLosesNobody(t *testing.T) {
	p := newSuccession(t)
	old, grants, ln := p.relay()
	p.serve(old, ln)
	links := p.remote()
	first := <-links
	p.visit(heldName).served()

	transfer := p.visit(heldName)
	transfer.send(100, len(transfer.hello))
	wait(t, func() bool { return first.NumStreams() == 1 })
	var early []*visit
	for range 5 {
		early = append(early, p.visit(heldName))
	}
	foreign := p.visit("nobody.relay.test")
	own := p.visit(ownName)
	wait(t, func() bool { return old.Routing() == 7 })

	if err := old.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := grants.Close(); err != nil {
		t.Fatal(err)
	}
	between := p.visit(heldName)
	next, _, nextLn := p.relay()
	next.Expect(old.Served())
	p.serve(next, nextLn)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var passed sync.WaitGroup
	over := make(chan error, 1)
	go func() {
		over <- old.HandOver(ctx, func(c net.Conn, hello []byte) error {
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return err
			}
			defer f.Close()
			dup, err := net.FileConn(f)
			if err == nil {
				passed.Go(func() { next.Adopt(dup, append([]byte(nil), hello...)) })
			}
			return err
		})
	}()
	between.served()
	second := <-links
	if second == first {
		t.Error("the remote has not dialled again")
	}
	for _, v := range early[:4] {
		v.served()
	}
	foreign.refused(112)
	own.send(100, len(own.hello)) // TLS for the relay's own name begins
	if b := make([]byte, 1); func() error { _, err := own.c.Read(b); return err }() != nil || b[0] != 22 {
		t.Errorf("the relay's own name answered %x", b)
	}
	own.c.Close()
	select {
	case err := <-over:
		t.Errorf("the old relay ended too early: %v", err)
	default:
	}
	early[4].served()
	if first.Err() != nil {
		t.Errorf("the old link ended with a stream on it: %v", first.Err())
	}
	transfer.c.CloseWrite()
	if b, err := io.ReadAll(transfer.c); string(b) != string(transfer.hello) || err != nil {
		t.Errorf("the transfer: %d of %d bytes, %v", len(b), len(transfer.hello), err)
	}
	if err := <-over; err != nil {
		t.Errorf("HandOver: %v", err)
	}
	<-first.Done()
	p.visit(heldName).served()
	next.Close()
	passed.Wait()
}

// Visitors whom the old process cannot give to the new one are refused, and some of
// them are in the log: anybody can come at that moment.
func TestVisitorsThatCannotBePassedOnFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		hello := helloFor(t, "a.relay.test")
		var visitors []conn
		for range 50 {
			c := r.dial()
			c.Write(hello[:100])
			visitors = append(visitors, c)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		over := make(chan error, 1)
		go func() {
			over <- r.srv.HandOver(ctx, func(net.Conn, []byte) error { return errors.New("it has no room") })
		}()
		synctest.Wait()
		for _, c := range visitors {
			c.Write(hello[100:])
			if b, _ := io.ReadAll(c); len(b) == 0 || b[0] != 21 {
				t.Errorf("a visitor gets %x, want an alert", b)
			}
			c.Close()
		}
		<-over
		if n := strings.Count(r.log.String(), "cannot pass a visitor on"); n < 1 || n > 10 {
			t.Errorf("the log has it %d times", n)
		}
		r.close()
	})
}

// wait waits for something that happens soon.
func wait(t *testing.T, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); {
		if time.Since(start) > time.Minute {
			t.Fatal("it does not happen")
		}
		<-time.After(time.Millisecond)
	}
}

// Who was accepted before Shutdown is served, and the remote is told.
func TestShutdownServesTheAccepted(t *testing.T) {
	p := newSuccession(t)
	srv, _, ln := p.relay()
	p.serve(srv, ln)
	told := make(chan framing.GoAway, 1)
	link, err := p.link(func(g framing.GoAway) { told <- g })
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	p.wg.Go(func() { answer(link) })
	if _, err := link.Claim(context.Background(), framing.Claim{Name: heldName}); err != nil {
		t.Fatal(err)
	}
	v, away := p.visit(heldName), p.visit("away.relay.test")
	wait(t, func() bool { return srv.Routing() == 2 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- srv.Shutdown(ctx) }()
	if g := <-told; g.Code != framing.GoAwayShutdown || g.In <= 0 || g.In > time.Minute {
		t.Errorf("the remote was told %+v", g)
	}
	v.served()
	away.refused(112)
	if err := <-over; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if <-link.Done(); link.Err() != io.EOF {
		t.Errorf("the link ended with %v", link.Err())
	}
	if err := srv.Shutdown(ctx); err != relay.ErrServerClosed {
		t.Errorf("again: %v", err)
	}
}

// The end of the context cuts what is left, by a reset.
func TestShutdownCutsVisitors(t *testing.T) {
	p := newSuccession(t)
	srv, _, ln := p.relay()
	p.serve(srv, ln)
	link := <-p.remote()
	v := p.visit(heldName)
	v.send(100, len(v.hello))
	wait(t, func() bool { return link.NumStreams() == 1 && srv.Visitors() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := v.c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the visitor read %v, not a reset", err)
	}
}

// A paused relay takes no connection, so that another one on the same socket
// gets it; a resumed one takes those that waited.
func TestPausedRelayLeavesConnectionsToAnother(t *testing.T) {
	p := newSuccession(t)
	srv, _, ln := p.relay()
	p.serve(srv, ln)
	p.visit("nobody.relay.test").refused(112)
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Pause(); err == nil {
		t.Error("paused twice")
	}
	p.visit("nobody.relay.test")
	c, err := p.ln.Accept() // the other one
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	v := p.visit("nobody.relay.test")
	srv.Resume()
	v.refused(112)
	srv.Resume() // does nothing
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	srv.Close() // ends a paused one too
}

func TestPauseNeedsDeadlines(t *testing.T) {
	p := newSuccession(t)
	srv, _, _ := p.relay()
	ln := memconn.Listen(nil)
	defer ln.Close()
	p.serve(srv, ln)
	wait(t, func() bool { return srv.Listeners() == 1 })
	if err := srv.Pause(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// While the record is closed visitors reach the names that are up, others wait
// and get internal_error, and claims are put off. Afterwards all is as before.
func TestGrantsClosedAndReopened(t *testing.T) {
	p := newSuccession(t)
	srv, grants, ln := p.relay()
	p.serve(srv, ln)
	link := <-p.remote()
	for range 2 {
		if err := grants.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.visit(heldName).served()
	var d *framing.Denial
	if _, err := link.Claim(context.Background(), framing.Claim{Name: "more.relay.test"}); !errors.As(err, &d) || d.Code != framing.DeniedUnavailable {
		t.Errorf("claim: %v", err)
	}
	other, err := names.OpenGrants(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := grants.Reopen(); !errors.Is(err, names.ErrInUse) {
		t.Errorf("while another has it: %v", err)
	}
	other.Close()
	for range 2 {
		if err := grants.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := link.Claim(context.Background(), framing.Claim{Name: "more.relay.test"}); err != nil {
		t.Errorf("claim: %v", err)
	}
	p.visit("nobody.relay.test").refused(112)
}

// How long a visitor waits, by the reason why.
func TestVisitorWaitsByTheReasonWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grants, err := names.OpenGrants(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		srv := &relay.Server{Domain: ownName, Names: &names.Names{Grants: grants}, TLS: &tls.Config{}}
		srv.Expect([]string{heldName})
		ln := memconn.Listen(nil)
		go srv.Serve(ln)
		check := func(name string, alert byte, after time.Duration) {
			t.Helper()
			c, err := ln.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			c.Write(clientHello(name))
			b := make([]byte, 7)
			if _, err := io.ReadFull(c, b); err != nil || b[6] != alert {
				t.Errorf("%s: got %x, %v", name, b, err)
			}
			if took := time.Since(start); took != after {
				t.Errorf("%s: after %v, want %v", name, took, after)
			}
		}
		check("nobody.relay.test", 112, 0)
		check(heldName, 80, relay.TakeoverHold)
		check(heldName, 112, 0) // expected no more
		grants.Close()
		check("nobody.relay.test", 80, relay.HoldTimeout)
		time.AfterFunc(time.Second, func() { grants.Reopen() })
		check("nobody.relay.test", 112, time.Second)
		grants.Close()
		srv.Close()
	})
}

// No more visitors wait for a name that was handed over than its limit says.
func TestHandedOverHoldsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grants, err := names.OpenGrants(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		srv := &relay.Server{Domain: ownName, Names: &names.Names{Grants: grants}, TLS: &tls.Config{}}
		srv.SetLimits(limits.Config{Exempt: everybody})
		srv.Expect([]string{heldName})
		ln := memconn.Listen(nil)
		go srv.Serve(ln)
		hello := clientHello(heldName)
		var visitors []net.Conn
		for range relay.MaxExpectedPerName + 1 {
			c, err := ln.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Write(hello)
			visitors = append(visitors, c)
		}
		synctest.Wait()
		refused := 0
		for _, c := range visitors {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 7)); !errors.Is(err, os.ErrDeadlineExceeded) {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d of %d were refused at once", refused, len(visitors))
		}
		srv.Close()
		for _, c := range visitors {
			c.Close()
		}
		grants.Close()
	})
}

// All who wait for a name that was handed over are served when its remote has
// dialled again, though they are more than may wait for another name.
func TestManyWaitForHandedOverName(t *testing.T) {
	p := newSuccession(t)
	srv, _, ln := p.relay()
	srv.Expect([]string{heldName})
	p.serve(srv, ln)
	var visitors []*visit
	for range 2 * relay.MaxHoldsPerName {
		v := p.visit(heldName)
		v.send(100, len(v.hello))
		visitors = append(visitors, v)
	}
	wait(t, func() bool { return srv.Routing() == len(visitors) })
	<-p.remote()
	for _, v := range visitors {
		v.c.CloseWrite()
		if b, err := io.ReadAll(v.c); string(b) != string(v.hello) || err != nil {
			t.Fatalf("%d of %d bytes came back, %v", len(b), len(v.hello), err)
		}
		v.c.Close()
	}
}
