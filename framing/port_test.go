package framing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// A port's name is read as it was made, and in no other spelling.
func TestPortNamesAreReadAsTheyAreMade(t *testing.T) {
	for _, port := range []uint16{1, 22, 20022, 65535} {
		got, relay, ok := framing.ParsePortName(framing.PortName(port, "relay.test"))
		if got != port || relay != "relay.test" || !ok {
			t.Errorf("%d became %d at %q, %v", port, got, relay, ok)
		}
	}
	for _, name := range []string{"", "relay.test", "tcp:", "tcp:22", "tcp:@relay.test", "tcp:0@relay.test", "tcp:022@relay.test", "tcp:+22@relay.test",
		"tcp:65536@relay.test", "tcp:22@Relay.test", "tcp:22@relay.test.", "tcp:22@", "tcp:22@relay.test:443", "TCP:22@relay.test", "relay.test:22"} {
		if _, _, ok := framing.ParsePortName(name); ok {
			t.Errorf("%q was taken for a port's name", name)
		}
	}
}

// With the capability a claim of a port is told which one it has got, and LOST and a
// stream have the name that it was claimed by.
func TestAClaimOfAPortIsToldThePort(t *testing.T) {
	a, b := pipe()
	lost := make(chan *framing.Denial, 1)
	relay, remote := linksWith(t, a, b, framing.Handler{Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
		if c.Name != "tcp:22@relay.test" {
			return framing.Claimed{}, nil
		}
		return framing.Claimed{Port: 20022}, nil
	}}, framing.Handler{Lost: func(d *framing.Denial) { lost <- d }}, framing.CapabilityPorts)
	if !relay.Ports() || !remote.Ports() {
		t.Fatal("the capability is not agreed on")
	}
	const name = "tcp:22@relay.test"
	if got, err := remote.Claim(t.Context(), framing.Claim{Name: name}); err != nil || got.Port != 20022 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := remote.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test"}); err != nil || got.Port != 0 {
		t.Errorf("another name got %+v, %v", got, err)
	}
	h := header
	h.Name, h.As, h.Kind = "relay.test:20022", name, framing.KindTCP
	opened, err := relay.Open(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Header().Name != "relay.test:20022" {
		t.Errorf("the relay knows the stream as one of %q", opened.Header().Name)
	}
	stream, err := remote.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Header(); got.Name != name || got.Kind != framing.KindTCP {
		t.Errorf("the remote got %+v", got)
	}
	relay.Revoke(framing.Denial{Name: name, Code: framing.DeniedBanned})
	if d := <-lost; d.Name != name {
		t.Errorf("lost %+v", d)
	}
}

// A relay without the capability is not asked for a port: it could take the name for
// anything.
func TestARelayWithoutPortsIsNotAskedForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe()
		asked := false
		_, remote := links(t, a, b, framing.Handler{Claim: claimsBy(func(framing.Claim) error { asked = true; return nil })}, framing.Handler{})
		var d *framing.Denial
		_, err := remote.Claim(t.Context(), framing.Claim{Name: "tcp:22@relay.test"})
		if !errors.As(err, &d) || !d.Permanent() || !strings.Contains(d.Text, "TCP ports") {
			t.Fatalf("got %v", err)
		}
		synctest.Wait()
		if asked {
			t.Fatal("the relay was asked")
		}
		up(t, remote)
	})
}

// CLAIMED of a port that has none ends the link, and so does port 0.
func TestClaimedOfAPortWithoutOneEndsTheLink(t *testing.T) {
	const name = "tcp:22@relay.test"
	for what, rest := range map[string][]byte{"nothing": nil, "half a port": {78}, "port 0": {0, 0}} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: framing.Minor, capabilities: framing.CapabilityPorts}.relay(t)
				done := make(chan error, 1)
				go func() {
					_, err := l.Claim(t.Context(), framing.Claim{Name: name})
					done <- err
				}()
				p.expect(claim)
				p.send(rec(claimed, str8(name), []byte{0, 0, 0, 0}, rest))
				if err := <-done; err == nil {
					t.Fatal("the claim was granted")
				}
				if _, err := wait(t, l); !errors.Is(err, framing.ErrProtocol) {
					t.Fatalf("the link ended with %v", err)
				}
			})
		})
	}
}

func FuzzPortName(f *testing.F) {
	for _, s := range []string{"tcp:22@relay.test", "tcp:0@a.b", "relay.test:22", "tcp:65536@x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		port, relay, ok := framing.ParsePortName(name)
		if ok && framing.PortName(port, relay) != name {
			t.Errorf("%q was read as port %d at %q", name, port, relay)
		}
	})
}
