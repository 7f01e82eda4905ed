package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// A visitor of a port gets to the remote that has it, whichever of the two speaks first,
// and an end goes through as one, each way by itself.
func TestAPortLeadsToItsRemote(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	headers := make(chan framing.Header, 2)
	d := r.device(newIdentity(t)).serve(func(s *framing.Stream) {
		headers <- s.Header()
		io.WriteString(s, "SSH-2.0-test\r\n")
		b, err := io.ReadAll(s)
		io.WriteString(s, "all of "+string(b))
		if err != nil {
			s.Reset()
		}
		s.Close()
	})
	if port := d.claimsPort(t, sshName); port != 20022 {
		t.Fatalf("got port %d", port)
	}
	c := p.visitor(t, 20022)
	says(t, c, "SSH-2.0-test\r\n")
	io.WriteString(c, "it")
	c.CloseWrite()
	if rest, err := io.ReadAll(c); string(rest) != "all of it" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	h := <-headers
	if h.Name != sshName || h.Kind != framing.KindTCP || h.Source.Addr().String() != "127.0.0.1" {
		t.Errorf("the remote was told %+v", h)
	}
	remotes, _, err := r.srv.Remotes(relay.Which{Name: "relay.test:20022"}, "", 10)
	if err != nil || len(remotes) != 1 {
		t.Errorf("%d remotes have the port, %v", len(remotes), err)
	}
	d.keeps(t)
}

// A reset goes through as one, both ways.
func TestAResetOfAPortsVisitorGoesThrough(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	streams := make(chan *framing.Stream)
	d := r.device(newIdentity(t)).serve(func(s *framing.Stream) { streams <- s })
	d.claimsPort(t, sshName)
	c := p.visitor(t, 20022)
	s := <-streams
	s.Reset()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset of the remote the visitor got %v", err)
	}
	c = p.visitor(t, 20022)
	s = <-streams
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if _, err := io.ReadAll(s); err == nil {
		t.Error("after a reset of the visitor the remote got an end")
	}
}

// Who comes to a port just when it has become nobody's is reset, and is not led to the
// operator's own server, which the fallback is for names.
func TestAPortLeadsToNoFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePorts{memory: true}
		r := memRig(t, func(s *relay.Server) {
			p.offer(s)
			s.SetFront(relay.Front{Fallback: relay.Fixed{To: "127.0.0.1:1"}})
		})
		d := r.device(newIdentity(t))
		d.claimsPort(t, sshName)
		if err := d.Release(t.Context(), "relay.test:20022"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(p.visitor(t, 20022)); err == nil {
			t.Fatal("the visitor got an end, and not a reset")
		}
		if n := r.srv.Status().RefusedFor["no_such_name"]; n != 1 {
			t.Fatalf("%d were refused since the port is nobody's: %v", n, r.srv.Status().RefusedFor)
		}
		r.close()
	})
}

// From a proxy that is believed, a visitor of a port begins with a header, which says who
// it is; what came with the header is the visitor's.
func TestAProxyMayStandBeforeAPort(t *testing.T) {
	var p somePorts
	r := newRig(t, func(s *relay.Server) {
		p.offer(s)
		s.SetFront(relay.Front{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	})
	r.dial = func() conn { // as the balancer brings it
		c, err := net.Dial("tcp", r.public)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
		c.Write(v2(t, "192.0.2.1:1", 0))
		return c.(conn)
	}
	r.device(newIdentity(t)).serve(func(s *framing.Stream) {
		fmt.Fprintf(s, "%v:", s.Header().Source)
		io.Copy(s, s)
	}).claimsPort(t, sshName)
	c := p.visitor(t, 20022)
	c.Write(append(v2(t, "203.0.113.7:4711", 0), "question"...))
	says(t, c, "203.0.113.7:4711:question")
	bare := p.visitor(t, 20022)
	bare.Write([]byte("SSH-2.0-nothing that a proxy says\r\n"))
	if _, err := io.ReadFull(bare, make([]byte, 1)); err == nil {
		t.Error("a proxy without a header was served")
	}
}

// A visitor who has ended its side waits for the answer as long as it takes, and also for
// a remote that is away.
func TestAnEndedVisitorOfAPortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePorts{memory: true}
		r := memRig(t, p.offer)
		id := newIdentity(t)
		d := r.device(id)
		d.claimsPort(t, sshName)
		d.Close()
		synctest.Wait()
		c := p.visitor(t, 20022)
		io.WriteString(c, "question")
		c.CloseWrite()
		time.Sleep(5 * time.Second)
		r.device(id).serve(func(s *framing.Stream) {
			b, _ := io.ReadAll(s)
			time.Sleep(2 * time.Minute)
			io.WriteString(s, "answer to "+string(b))
			s.Close()
		}).claimsPort(t, sshName)
		if b, err := io.ReadAll(c); string(b) != "answer to question" || err != nil {
			t.Fatalf("got %q, %v", b, err)
		}
		r.close()
	})
}
