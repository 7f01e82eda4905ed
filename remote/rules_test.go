package remote_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// knock is a visitor's handshake that offers these protocols.
func (l *relayLink) knock(protos ...string) error {
	l.t.Helper()
	s := l.open(domain, framing.KindTLS)
	defer s.Close()
	tc := tls.Client(s, &tls.Config{RootCAs: l.ca.Pool(), ServerName: domain, NextProtos: protos})
	if err := tc.Handshake(); err != nil {
		return err
	}
	_, err := io.ReadAll(tc)
	return err
}

// accepting takes all visitors.
func accepting(ln *remote.Listener) {
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// The rules go along with each claim, and the device holds to them by itself: a
// visitor whom its relay should have refused gets the alert access_denied.
func TestRulesAreClaimedAndKept(t *testing.T) {
	for name, c := range map[string]struct {
		rules framing.Rules
		wants bool
	}{
		"none":          {framing.Rules{}, true},
		"allowed":       {framing.Rules{Allow: prefixes("192.0.2.0/24")}, true},
		"not allowed":   {framing.Rules{Allow: prefixes("198.51.100.0/24", "::/0")}, false},
		"denied":        {framing.Rules{Deny: prefixes("192.0.2.7/32")}, false},
		"the neighbour": {framing.Rules{Deny: prefixes("192.0.2.8/32")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t)
			ln := r.start(func(c2 *remote.Config) { c2.Rules = c.rules })
			accepting(ln)
			link := r.next()
			r.mu.Lock()
			claimed := r.rules
			r.mu.Unlock()
			if len(claimed.Allow) != len(c.rules.Allow) || len(claimed.Deny) != len(c.rules.Deny) {
				t.Errorf("claimed %+v", claimed)
			}
			err := link.knock("h2")
			if c.wants != (err == nil) || !c.wants && !strings.Contains(err.Error(), "access denied") {
				t.Errorf("a visitor: %v", err)
			}
			if err := link.knock("acme-tls/1", "h2"); !c.wants && (err == nil || !strings.Contains(err.Error(), "access denied")) {
				t.Errorf("a visitor that names acme-tls/1, too: %v", err)
			}
			// With a certificate that was brought along no CA has anything to look for.
			if err := link.knock("acme-tls/1"); !c.wants && (err == nil || !strings.Contains(err.Error(), "access denied")) {
				t.Errorf("a validation of nothing: %v", err)
			}
		})
	}
}

// With ACME a CA's validation gets to the device whatever the rules are: it has no
// challenge here, so that what answers is the lack of one.
func TestValidationsPassTheDevicesRules(t *testing.T) {
	r := newRelay(t)
	ln := r.start(func(c *remote.Config) {
		c.TLS = nil
		c.ACME.CA, c.ACME.Roots = "https://127.0.0.1:1/", r.ca.Pool() // nobody is there
		c.Deny = prefixes("0.0.0.0/0", "::/0")
	})
	accepting(ln)
	link := r.next()
	if err := link.knock("acme-tls/1"); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("a validation: %v", err)
	}
	if err := link.knock("h2"); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("a visitor: %v", err)
	}
	s := link.open(domain, framing.KindHTTP01)
	io.WriteString(s, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: "+domain+"\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(s); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 404") {
		t.Errorf("HTTP-01: %q, %v", b, err)
	}
}

// Behind tls:// nobody passes the rules as a CA's validation, since the service might
// agree to any protocol: neither by a relay, which lets that through, nor at home.
func TestNobodyPassesTheRulesOfARawName(t *testing.T) {
	r := newRelay(t)
	ln, home := r.atHome(func(c *remote.Config) { c.TLS, c.Raw, c.Deny = nil, true, prefixes("0.0.0.0/0", "::/0") })
	config := &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}} // it looks at no protocol
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = tls.Server(c, config).HandshakeContext(t.Context())
			}()
		}
	}()
	link := r.next()
	for _, protocol := range []string{"acme-tls/1", "h2"} {
		if err := link.knock(protocol); err == nil {
			t.Errorf("by a relay, with %s: it was let in", protocol)
		}
		if _, err := r.greets(home, domain, protocol); err == nil || !strings.Contains(err.Error(), "access denied") {
			t.Errorf("at home, with %s: %v", protocol, err)
		}
	}
}

// What no claim can carry is a mistake of usage.
func TestTooManyRulesAreRefused(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	for range framing.MaxRules + 1 {
		cfg.Allow = append(cfg.Allow, netip.MustParsePrefix("192.0.2.0/24"))
	}
	if _, err := remote.Listen(cfg); err == nil {
		t.Error("they were taken")
	}
	cfg.Allow = []netip.Prefix{{}}
	if _, err := remote.Listen(cfg); err == nil {
		t.Error("an invalid range was taken")
	}
}

// A denial that says when to ask again is heeded, and its hint can be shown.
func TestDenialSaysWhenToAskAgain(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(string, string) error {
		return &framing.Denial{Code: framing.DeniedLimit, Text: "too many", Hint: "come back", Retry: 90 * time.Minute}
	})
	logged := make(lines, 100)
	ln := r.start(func(c *remote.Config) { c.Logger = slog.New(slog.NewTextHandler(logged, nil)) })
	var d *framing.Denial
	for start := time.Now(); !errors.As(ln.Wait(expired()), &d); runtime.Gosched() {
		if time.Since(start) > patience {
			t.Fatal("no denial")
		}
	}
	if d.Retry != 90*time.Minute {
		t.Errorf("denied: %+v", d)
	}
	for line := range logged { // until it is there
		if strings.Contains(line, "come back") {
			if !strings.Contains(line, "in=1h30m0s") {
				t.Errorf("logged %s", line)
			}
			break
		}
	}
	end(ln)
}

// Visitors whom the rules refuse, and who say nothing or may be a CA's validation, have
// few places at once: one more is told at once that the name is not for it, and those
// for whom it is are served.
func TestVisitorsWhomTheRulesRefuseHaveFewPlaces(t *testing.T) {
	r := newRelay(t)
	ln := r.start(func(c *remote.Config) { c.Rules = framing.Rules{Deny: prefixes("192.0.2.7/32")} })
	accepting(ln)
	link := r.next()
	const more = 8
	told := make(chan string, remote.MaxUnwanted+more)
	for range remote.MaxUnwanted + more {
		s := link.open(domain, framing.KindTLS)
		go func() {
			b, _ := io.ReadAll(s)
			told <- string(b)
		}()
	}
	for range more {
		if got := <-told; got != "\x15\x03\x03\x00\x02\x02\x31" {
			t.Errorf("one too many gets %q", got)
		}
	}
	if n := remote.VisitorsPlaced(ln); n > remote.MaxUnwanted {
		t.Errorf("%d places are taken", n)
	}
	s, err := link.Open(framing.Header{Name: domain, Kind: framing.KindTLS, Source: netip.MustParseAddrPort("192.0.2.8:1"), Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(s, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain}).Handshake(); err != nil {
		t.Errorf("one for whom the name is: %v", err)
	}
}

// Of these places none is kept from a CA by a single network: where all are taken, the
// network that has most of them gives up its oldest.
func TestNoNetworkKeepsValidationsAway(t *testing.T) {
	r := newRelay(t)
	r.start(nil)
	link := r.next()
	from := func(address string) *framing.Stream {
		s, err := link.Open(framing.Header{Name: domain, Kind: framing.KindTLS, Source: netip.MustParseAddrPort(address), Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	var u remote.Unwanted
	var greedy []*framing.Stream
	for i := range remote.MaxUnwanted {
		greedy = append(greedy, from(fmt.Sprintf("192.0.2.%d:1", i)))
		if !u.Enter(greedy[i]) {
			t.Fatalf("there is no place for number %d", i)
		}
	}
	if u.Enter(from("192.0.2.99:1")) {
		t.Error("the network that has all has one more")
	}
	for i := range remote.MaxUnwanted / 2 {
		if !u.Enter(from("[2001:db8::1]:1")) {
			t.Errorf("there is no place for another network's number %d", i)
		}
		if greedy[i].Broken() == nil || greedy[i+1].Broken() != nil {
			t.Errorf("number %d and not the oldest has given its place up", i)
		}
	}
	u.Leave(greedy[0]) // which has none
	if u.Enter(from("[2001:db8::2]:1")) {
		t.Error("a network has more than another one")
	}
	u.Leave(greedy[remote.MaxUnwanted-1])
	if !u.Enter(from("192.0.2.99:1")) {
		t.Error("a place that was given back is not free")
	}
}

// Nor is one kept from a CA by many networks that stay: where each of those has but one,
// the oldest place goes to whoever comes.
func TestManyNetworksHoldNoPlacesOfValidations(t *testing.T) {
	r := newRelay(t)
	r.start(nil)
	link := r.next()
	var u remote.Unwanted
	var all []*framing.Stream
	for i := range remote.MaxUnwanted + 2 {
		s, err := link.Open(framing.Header{Name: domain, Kind: framing.KindTLS, Source: netip.MustParseAddrPort(fmt.Sprintf("192.0.%d.1:1", i)), Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if all = append(all, s); !u.Enter(s) {
			t.Errorf("there is no place for number %d", i)
		}
	}
	if all[0].Broken() == nil || all[1].Broken() == nil || all[2].Broken() != nil {
		t.Error("others than the two oldest have given their places up")
	}
}
