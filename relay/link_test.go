package relay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// A link without a proof that holds is refused, for good.
func TestLinkWithoutAProofIsRefused(t *testing.T) {
	r := newRig(t, nil)
	tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	cs := tc.ConnectionState()
	_, key, _ := ed25519.GenerateKey(nil)
	var h framing.Hello
	if err := h.Sign(key, &cs, "another.test"); err != nil {
		t.Fatal(err)
	}
	_, _, err := framing.Client(t.Context(), tc, h, framing.Handler{})
	var refused *framing.Refusal
	if !errors.As(err, &refused) || refused.Code != framing.RefusedProof {
		t.Errorf("got %v", err)
	}
}

// A link is TLS 1.3 and nothing else, and says its protocol.
func TestLinkNeedsTLS13(t *testing.T) {
	r := newRig(t, nil)
	config := &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}, MaxVersion: tls.VersionTLS12}
	if err := tls.Client(r.dial(), config).Handshake(); err == nil {
		t.Error("a link over TLS 1.2")
	}
	config.MaxVersion = 0
	config.NextProtos = []string{"http/1.1", framing.Protocol} // whoever names it means it
	tc := tls.Client(r.dial(), config)
	if err := tc.Handshake(); err != nil || tc.ConnectionState().NegotiatedProtocol != framing.Protocol {
		t.Errorf("%v, %q", err, tc.ConnectionState().NegotiatedProtocol)
	}
	config.NextProtos = []string{"keystay/2"}
	if err := tls.Client(r.dial(), config).Handshake(); err == nil {
		t.Error("another major version")
	}
}

// A remote is told the public port.
func TestRemoteIsToldThePublicPort(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.PublicPort = 8443 })
	d := r.device(newIdentity(t))
	if d.welcome.PublicPort != 8443 || d.welcome.Agent != "keystay-relay/test" {
		t.Errorf("%+v", d.welcome)
	}
	r = newRig(t, nil)
	port := r.dial().RemoteAddr().(*net.TCPAddr).Port
	if d := r.device(newIdentity(t)); int(d.welcome.PublicPort) != port {
		t.Errorf("told port %d, it is %d", d.welcome.PublicPort, port)
	}
}

// A remote that does not say hello, or does not end its TLS handshake, is cut
// off.
func TestRemoteThatSaysNoHelloIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		start := time.Now()
		c := r.dial()
		c.Write(helloFor(t, zone)) // and no more
		io.Copy(io.Discard, c)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("an unfinished handshake was cut after %v", took)
		}
		start = time.Now()
		tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, tc)
		if took := time.Since(start); took != framing.HelloTimeout {
			t.Errorf("a silent link was cut after %v", took)
		}
		r.close()
	})
}

// What is logged names devices by their key, and nothing of a visitor.
func TestLogHasNoVisitors(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.device(id, "a.relay.test").echo("a")
	c := r.dial()
	visitor := c.LocalAddr().String()
	c.Write(append(helloFor(t, "a.relay.test"), "a secret of the visitor"...))
	c.CloseWrite()
	io.Copy(io.Discard, c)
	r.refused("wanted.relay.test", unrecognizedName)
	r.close()
	log := r.log.String()
	for _, secret := range []string{"secret", visitor, "wanted"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
	if !strings.Contains(log, strings.TrimSuffix(id.label(), "."+zone)) {
		t.Errorf("the log does not name the device:\n%s", log)
	}
}

// Shutdown takes no new visitors, tells the remotes, and waits for the visitors.
func TestShutdownWaitsForVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		d := r.device(newIdentity(t), "a.relay.test").echo("a")
		c := r.dial()
		hello := helloFor(t, "a.relay.test")
		c.Write(hello)
		io.ReadFull(c, make([]byte, len("a:")+len(hello)))
		done := make(chan error, 1)
		go func() { done <- r.srv.Shutdown(t.Context()) }()
		if g := <-d.goAway; g.Code != framing.GoAwayShutdown {
			t.Errorf("%+v", g)
		}
		synctest.Wait()
		if _, err := r.mem.Dial(t.Context()); err == nil {
			t.Error("a new visitor got in")
		}
		time.Sleep(time.Hour)
		c.Write([]byte("still served"))
		b := make([]byte, 12)
		if _, err := io.ReadFull(c, b); string(b) != "still served" {
			t.Errorf("got %q, %v", b, err)
		}
		c.CloseWrite()
		if _, err := c.Read(b); err != io.EOF {
			t.Errorf("the visitor got %v, want its end", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-d.Done()
		if err := r.srv.Serve(r.mem); err != relay.ErrServerClosed {
			t.Errorf("Serve after Shutdown: %v", err)
		}
		r.close()
	})
}

// A visitor that does not end is cut when the time is up.
func TestShutdownCutsWhenItsTimeIsUp(t *testing.T) {
	for name, wait := range map[string]bool{"while it drains": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			d := r.device(newIdentity(t), "a.relay.test").echo("a")
			c := r.dial()
			c.Write(helloFor(t, "a.relay.test"))
			io.ReadFull(c, make([]byte, 100))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !wait {
				cancel()
			}
			done := make(chan error, 1)
			go func() { done <- r.srv.Shutdown(ctx) }()
			if wait {
				<-d.goAway
			}
			cancel()
			if err := <-done; err == nil {
				t.Error("Shutdown does not say that it had to cut")
			}
			if _, err := io.Copy(io.Discard, c); err == nil {
				t.Error("the cut looks like an end")
			}
		})
	}
}

func TestCloseCutsByAReset(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "a.relay.test").echo("a")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	io.ReadFull(c, make([]byte, 100))
	half := r.dial()
	half.Write(helloFor(t, "a.relay.test")[:50])
	r.close()
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the cut looks like an end")
	}
	<-d.Done()
	io.Copy(io.Discard, half)
	r.srv.Close() // again
}

// A server that never served can be closed.
func TestServerThatNeverServedCanBeClosed(t *testing.T) {
	r := newServer(t, func(s *relay.Server) { s.Logger = nil })
	r.srv.Close()
	if err := r.srv.Serve(listenTCP(t)); err != relay.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	if err := r.srv.ServeHTTP01(listenTCP(t)); err != relay.ErrServerClosed {
		t.Errorf("ServeHTTP01: %v", err)
	}
	if err := r.srv.ServeAdmin(listenTCP(t), nil); err != relay.ErrServerClosed {
		t.Errorf("ServeAdmin: %v", err)
	}
}

// What remotes do over and over does not fill the log: a claim of the own name and
// a GOAWAY are told once a link, and links and names that come and go so often in
// a minute, with how many were left out.
func TestRemotesDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		info := &lockedBuffer{}
		r := memRig(t, func(s *relay.Server) {
			s.Logger = slog.New(slog.NewTextHandler(info, &slog.HandlerOptions{Level: slog.LevelInfo}))
		})
		id := newIdentity(t)
		d := r.device(id, id.label())
		for range 50 {
			if err := d.Claim(t.Context(), framing.Claim{Name: id.label()}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if err := d.GoAway(t.Context(), framing.GoAway{Text: "again"}); err != nil {
				break
			}
		}
		d.Close()
		synctest.Wait()
		for text, want := range map[string]int{"remote connected": 1, "name is up": 1, "going away": 1, "remote disconnected": 1} {
			if n := strings.Count(info.String(), text); n != want {
				t.Errorf("%q is in the log %d times, want %d", text, n, want)
			}
		}
		for range relay.LinkLines + 10 {
			r.device(id, id.label()).Close()
			synctest.Wait()
		}
		for _, text := range []string{"remote connected", "name is up", "remote disconnected"} {
			if n := strings.Count(info.String(), text); n > relay.LinkLines {
				t.Errorf("%q is in the log %d times within a minute", text, n)
			}
		}
		time.Sleep(time.Minute)
		r.device(id, id.label()).Close()
		synctest.Wait()
		if !strings.Contains(info.String(), "left_out=11") {
			t.Error("the log does not have how many lines were left out")
		}
		r.close()
	})
}
