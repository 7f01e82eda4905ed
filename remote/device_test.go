package remote_test

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/remote"
)

// listenAll starts a device with several names and ends it with the test.
func (r *fakeRelay) listenAll(domains ...string) []*remote.Listener {
	r.t.Helper()
	cfg := r.config()
	cfg.Relays = []string{zone}
	cfg.TLS = &tls.Config{}
	for _, d := range domains {
		cfg.TLS.Certificates = append(cfg.TLS.Certificates, r.ca.Issue(d))
	}
	list, err := remote.ListenAll(cfg, domains...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { end(list[0]) })
	return list
}

// Listeners of one device share its links, and each gets the visitors of its
// name alone.
func TestListenersOfADeviceShareItsLinks(t *testing.T) {
	r := newRelay(t)
	names := []string{"one.relay.test", "two.relay.test"}
	listeners := r.listenAll(names...)
	link := r.next()
	for i, ln := range listeners {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		if ln.Domain() != names[i] {
			t.Errorf("listener %d is of %s", i, ln.Domain())
		}
		visitor := tls.Client(link.open(names[i], framing.KindTLS), &tls.Config{RootCAs: r.ca.Pool(), ServerName: names[i]})
		go func() {
			if visitor.Handshake() == nil {
				io.WriteString(visitor, "to "+names[i])
				visitor.CloseWrite()
			}
		}()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); err != nil || string(b) != "to "+names[i] {
			t.Errorf("listener %d got %q, %v", i, b, err)
		}
		c.Close()
	}
	stranger := link.open("three.relay.test", framing.KindTLS)
	if _, err := stranger.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a visitor of another name: %v, want a refusal", err)
	}
	select {
	case <-r.up:
		t.Error("a second link for the second name")
	default:
	}
}

// A name that is denied keeps no other name of the device from answering, and
// its listener tells why.
func TestDenialOfOneNameLeavesTheOther(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(name, _ string) error {
		if strings.HasPrefix(name, "two.") {
			return &framing.Denial{Code: framing.DeniedTaken, Text: "somebody has it"}
		}
		return nil
	})
	listeners := r.listenAll("one.relay.test", "two.relay.test")
	if err := wait(t, listeners[0]); err != nil {
		t.Fatal(err)
	}
	var denial *framing.Denial
	if err := listeners[1].Wait(expired()); !errors.As(err, &denial) || denial.Text != "somebody has it" {
		t.Errorf("the denied name: %v", err)
	}
}
