package remote_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/acme"
	"keystay/framing"
	"keystay/remote"
)

// A relay may open some HTTP-01 streams at once and no more, and others when these
// are over: they are no visitors, whose number is bounded apart.
func TestHTTP01StreamsAreBounded(t *testing.T) {
	r := newRelay(t)
	closed := newRelay(t)
	closed.close()
	cfg := r.config()
	cfg.TLS = nil
	cfg.ACME = acme.Config{CA: "https://" + closed.addr + "/dir", Roots: r.ca.Pool()}
	ln := r.listen(cfg)
	link := r.next()
	ask := func() *framing.Stream {
		s := link.open(domain, framing.KindHTTP01)
		fmt.Fprintf(s, "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
		return s
	}
	answer := func(s *framing.Stream) error {
		_, err := http.ReadResponse(bufio.NewReader(s), nil)
		return err
	}
	var open []*framing.Stream
	for i := range remote.MaxHTTP01 {
		open = append(open, ask())
		if err := answer(open[i]); err != nil {
			t.Fatalf("stream %d: %v", i+1, err)
		}
	}
	var refused *framing.ResetError
	if err := answer(ask()); !errors.As(err, &refused) || refused.Code != framing.ResetRefused {
		t.Errorf("one more: %v, want refused", err)
	}
	for _, s := range open {
		s.Close()
		io.Copy(io.Discard, s) // up to the device's end
	}
	for deadline := time.Now().Add(patience); ; {
		err := answer(ask())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("when they are over: %v", err)
		}
	}
	end(ln)
}

// A relay that asks whatever a CA would ask, and does not go, keeps no CA away that comes by
// another relay of the name.
func TestRelayTakesNoPlacesOfValidationsByAnother(t *testing.T) {
	a := newRelay(t)
	b := newRelay(t, func(r *fakeRelay) { r.ca, r.cert = a.ca, a.ca.Issue("other.test") })
	cfg := a.deviceConfig()
	cfg.Relays, cfg.RelayAddresses = []string{zone, "other.test"}, []string{a.addr, b.addr}
	cfg.ACME, cfg.NoRehearsal = acme.Config{CA: "https://127.0.0.1:1/", Roots: a.ca.Pool()}, true
	d := a.openDevice(cfg)
	if _, err := d.Listen(remote.Name{Domain: domain, Rules: framing.Rules{Deny: prefixes("0.0.0.0/0")}}); err != nil {
		t.Fatal(err)
	}
	link, other := a.next(), b.next()
	ended := make(chan struct{}, 2*remote.MaxHTTP01+3*remote.MaxUnwanted+1)
	await := func(s *framing.Stream) {
		go func() {
			_, _ = s.Read(make([]byte, 1))
			ended <- struct{}{}
		}()
	}
	for range 2 * remote.MaxHTTP01 {
		await(other.open(domain, framing.KindHTTP01))
	}
	for range remote.MaxHTTP01 { // these found no place: the others have all
		<-ended
	}
	from := func(l *relayLink, address string) *framing.Stream {
		s, err := l.Open(framing.Header{Name: domain, Kind: framing.KindTLS, Source: netip.MustParseAddrPort(address), Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	for i := range remote.MaxUnwanted + 1 {
		await(from(other, fmt.Sprintf("198.51.%d.1:1", i)))
	}
	<-ended // one has lost its place: the others have all
	alpn := from(link, "192.0.2.7:1")
	ask := link.open(domain, framing.KindHTTP01)
	fmt.Fprintf(ask, "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
	if _, err := http.ReadResponse(bufio.NewReader(ask), nil); err != nil {
		t.Errorf("http-01: %v", err)
	}
	for i := range 2 * remote.MaxUnwanted {
		await(from(other, fmt.Sprintf("203.%d.113.1:1", i)))
	}
	for range 2 * remote.MaxUnwanted { // each has taken the place of another one
		<-ended
	}
	alpn.SetReadDeadline(time.Now())
	if _, err := alpn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("tls-alpn-01: %v", err)
	}
}

// Without a CA the name is claimed, nothing is served, and Wait says what is
// missing.
func TestNameIsClaimedWithoutACA(t *testing.T) {
	r := newRelay(t)
	closed := newRelay(t)
	closed.close()
	events := make(chan acme.Event, 64)
	cfg := r.config()
	cfg.TLS = nil
	cfg.ACME = acme.Config{CA: "https://" + closed.addr + "/dir", Roots: r.ca.Pool(), Notify: func(e acme.Event) { events <- e }}
	ln := r.listen(cfg)
	link := r.next()
	for e := range events {
		if e.Kind == acme.Failed {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ln.Wait(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("Wait: %v", err)
	}

	// The CA's HTTP-01 question is answered by the device, if only with no.
	s := link.open(domain, framing.KindHTTP01)
	fmt.Fprintf(s, "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", domain)
	resp, err := http.ReadResponse(bufio.NewReader(s), nil)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("challenge: %v, %v", resp, err)
	}
	end(ln)
}

func TestBadACMEConfigLeavesTheNameFree(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.TLS = nil
	cfg.ACME.CA = "http://ca.test"
	if _, err := remote.Listen(cfg); err == nil {
		t.Error("a CA without TLS")
	}
	cfg.ACME.CA = "" // the name is not locked any more
	cfg.TLS = r.config().TLS
	r.listen(cfg)
}
