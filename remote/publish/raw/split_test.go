package raw_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/publish/raw"
)

// A split listener of a test, whose parts each answer with their number.
type splitRig struct {
	*published
	parts []net.Listener
	errs  chan error // of the parts' Accept
}

func split(t *testing.T, p raw.Protocols) *splitRig {
	t.Helper()
	r := &splitRig{published: &published{t: t, ca: testca.New(t), ln: memconn.Listen(nil)}, errs: make(chan error, 8)}
	cert := r.ca.Issue(domain)
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c := &tls.Config{Certificates: []tls.Certificate{cert}}
		protocol, ok := p.Choose(h.SupportedProtos)
		if !ok {
			c.NextProtos = []string{"none of these"}
		} else if protocol != "" {
			c.NextProtos = []string{protocol}
		}
		return c, nil
	}}
	r.parts = raw.Split(tlsListener{r.ln, config}, p.Service, len(p.Rules)+1)
	for i, part := range r.parts {
		go func() {
			for {
				c, err := part.Accept()
				if err != nil {
					r.errs <- err
					return
				}
				c.Write([]byte{'0' + byte(i)})
				c.Close()
			}
		}()
	}
	t.Cleanup(func() {
		for _, part := range r.parts {
			part.Close()
		}
	})
	return r
}

// served is the number of the part that a visitor has reached.
func (r *splitRig) served(protocols ...string) string {
	r.t.Helper()
	tc, _ := r.visitor(protocols...)
	b, err := io.ReadAll(tc)
	if err != nil {
		r.t.Errorf("%v: %v", protocols, err)
	}
	return string(b)
}

// Visitors are told apart by what they offer.
func TestVisitorsReachTheServiceOfTheirProtocol(t *testing.T) {
	r := split(t, raw.Protocols{Web: true, Rules: [][]string{{"mqtt"}, {"postgresql", "redis"}}})
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{nil, "0"}, {[]string{"h2", "http/1.1"}, "0"}, {[]string{"mqtt"}, "1"}, {[]string{"postgresql"}, "2"}, {[]string{"http/1.1", "redis"}, "2"},
	} {
		if got := r.served(c.offered...); got != c.want {
			t.Errorf("%v reaches %s, want %s", c.offered, got, c.want)
		}
	}
	err := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain, NextProtos: []string{"imap"}}).Handshake()
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Err.Error() != "tls: no application protocol" {
		t.Errorf("a protocol that is not served: %v", err)
	}
}

// A visitor that says nothing in its handshake holds nobody else up.
func TestSilentVisitorHoldsNobodyUp(t *testing.T) {
	r := split(t, raw.Protocols{Web: true})
	silent := r.dial()
	if got := r.served("h2"); got != "0" {
		t.Errorf("reaches %q", got)
	}
	silent.Reset()
}

// A listener that is closed resets its visitors, and the others go on; the last one
// closes all.
func TestClosedPartRefusesAndOthersGoOn(t *testing.T) {
	r := split(t, raw.Protocols{Web: true, Rules: [][]string{{"mqtt"}}})
	r.parts[1].Close()
	if err := <-r.errs; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	tc, c := r.visitor("mqtt")
	if _, err := io.ReadAll(tc); err == nil || !errors.Is(c.Broken(), syscall.ECONNRESET) {
		t.Errorf("%v, %v", err, c.Broken())
	}
	if got := r.served("h2"); got != "0" {
		t.Errorf("reaches %q", got)
	}
	r.parts[0].Close()
	if _, err := r.ln.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the last: %v", err)
	}
}

// When the listener fails, each part's Accept says so, after the visitors that came
// before.
func TestPartsEndWithTheListener(t *testing.T) {
	r := split(t, raw.Protocols{Web: true, Rules: [][]string{{"mqtt"}}})
	c := r.dial()
	tc := tls.Client(c, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain, NextProtos: []string{"mqtt"}})
	eventually(t, "accepted", func() bool { return tc.Handshake() == nil })
	r.ln.Close()
	if b, err := io.ReadAll(tc); string(b) != "1" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	for range r.parts {
		if err := <-r.errs; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// A number that is none of the parts' resets the visitor.
func TestNumberOutOfRangeIsAReset(t *testing.T) {
	ln := memconn.Listen(nil)
	parts := raw.Split(ln, func(string) int { return 7 }, 1)
	defer parts[0].Close()
	c, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}
