package relay_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// shared is a name that a device has at both of two relays.
const shared = "a.relay.test"

// here is where all that is dialled in a test comes from.
var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// twoRelays are two relays that are siblings, and a device that names each to the other.
func twoRelays(t *testing.T) (a, b *rig, id identity) {
	a, b = newRig(t, nil), newRig(t, nil)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: b.public, From: here}})
	b.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: a.public, From: here}})
	return a, b, newIdentity(t)
}

// named connects a device that names the other relays of the shared name.
func (r *rig) named(id identity, siblings ...string) *device {
	r.t.Helper()
	d := r.device(id)
	if err := d.Claim(r.t.Context(), framing.Claim{Name: shared, Siblings: siblings}); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// who tells each visitor whose address the device was told, and echoes.
func (d *device) who() *device {
	return d.serve(func(s *framing.Stream) {
		fmt.Fprint(s, s.Header().Source.Addr(), ":")
		io.Copy(s, s)
		s.Close()
	})
}

// gone ends a device's link, and returns when the relay has seen that.
func (r *rig) gone(d *device) {
	r.t.Helper()
	d.Close()
	r.waitFor(func() bool { return len(r.srv.Served()) == 0 })
}

func (r *rig) waitFor(what func() bool) {
	r.t.Helper()
	for start := time.Now(); !what(); runtime.Gosched() {
		if time.Since(start) > patience {
			r.t.Fatal("it did not happen")
		}
	}
}

// shows checks a line of the metrics.
func (r *rig) shows(line string) {
	r.t.Helper()
	if text := r.metrics(); !strings.Contains(text, line+"\n") {
		r.t.Errorf("no %q in the metrics:\n%s", line, grep(text, "keystay_sibling"))
	}
}

func grep(text, part string) (list string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && line[0] != '#' {
			list += line
		}
	}
	return list
}

// A visitor of a device that its relay has lost reaches it through the sibling at once,
// with its own address; ends are passed on one by one. A visitor of a device that is here
// stays here.
func TestSiblingServesWhileTheDeviceIsAway(t *testing.T) {
	a, b, id := twoRelays(t)
	atA := a.named(id, zone).echo("a")
	b.named(id, zone).who()
	a.reaches(shared, "a")
	a.gone(atA)
	a.from("127.0.0.5").reaches(shared, "127.0.0.5")
	a.shows(`keystay_sibling_answers_total{answer="taken",sibling="relay.test"} 1`)
	a.shows(`keystay_holds_total{outcome="came"} 0`)
	b.shows(`keystay_sibling_visitors_total{direction="in",sibling="relay.test"} 1`)
	a.waitFor(func() bool {
		return strings.Contains(a.metrics(), `keystay_sibling_visitors{direction="out",sibling="relay.test"} 0`)
	})
	b.waitFor(func() bool {
		return strings.Contains(b.metrics(), `keystay_sibling_visitors{direction="in",sibling="relay.test"} 0`)
	})
	a.named(id, zone).echo("again")
	a.reaches(shared, "again")
}

// Two siblings that have both lost the device pass a visitor on once and never back: it
// waits where it has come to, and is served when the device comes.
func TestVisitorIsPassedOnOnce(t *testing.T) {
	a, b, id := twoRelays(t)
	a.gone(a.named(id, zone))
	b.gone(b.named(id, zone))
	answer := make(chan string)
	go func() {
		got, err := a.visit(shared, "")
		answer <- fmt.Sprint(got, err)
	}()
	a.waitFor(func() bool { return strings.Contains(a.metrics(), `answer="not_there",sibling="relay.test"} 1`) })
	a.waitFor(func() bool { return strings.Contains(a.metrics(), "keystay_holds 1\n") })
	a.named(id, zone).echo("x")
	if got := <-answer; !strings.HasPrefix(got, "x:") {
		t.Errorf("the visitor got %q", got)
	}
	b.shows(`keystay_sibling_visitors_total{direction="out",sibling="relay.test"} 0`)
	a.shows(`keystay_sibling_visitors_total{direction="in",sibling="relay.test"} 0`)
}

// Without the word of the device nothing is passed on, and nothing is taken: not for a
// name whose device has named nobody, or another relay, nor for one that is nobody's.
func TestNothingIsPassedOnWithoutTheDevicesWord(t *testing.T) {
	for _, word := range [][]string{nil, {"relay.example.org"}} {
		a, b, id := twoRelays(t)
		atA := a.named(id, word...)
		b.named(id, word...).echo("b")
		a.gone(atA)
		l := a.dial()
		l.Write(helloFor(t, shared))
		a.waitFor(func() bool { return strings.Contains(a.metrics(), "keystay_holds 1\n") })
		a.shows(`keystay_sibling_visitors_total{direction="out",sibling="relay.test"} 0`)
		for _, name := range []string{shared, "b.relay.test", zone} {
			if got := b.passedOn(t, zone, "203.0.113.7:1", name, name); got != unrecognizedName[6:] {
				t.Errorf("%s was answered %q", name, got)
			}
		}
	}
}

// marked is the header of a visitor that a relay passes on.
func marked(t *testing.T, relay, source, name string, kind framing.Kind) []byte {
	t.Helper()
	from := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source))
	h := proxyproto.HeaderProxyFromAddrs(2, from, &net.TCPAddr{IP: net.ParseIP("192.0.2.80"), Port: 443})
	h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)},
		{Type: 0xE2, Value: append([]byte{1, byte(kind)}, relay...)}})
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// passedOn passes a visitor on as a sibling would, and returns what is answered at first.
func (r *rig) passedOn(t *testing.T, relay, source, name, sni string) string {
	t.Helper()
	c := r.dial()
	defer c.Close()
	c.Write(append(marked(t, relay, source, name, framing.KindTLS), helloFor(t, sni)...))
	b := make([]byte, 1)
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

// What a sibling says is believed from its address alone, and where it is a whole word: so
// it gets no name that it does not name itself, and takes nobody's address for a stranger.
func TestSiblingsLiesLeadNowhere(t *testing.T) {
	_, b, id := twoRelays(t)
	b.named(id, zone).who()
	b.device(newIdentity(t), "other.relay.test").who()
	const ok, no, denied = "\x00", "\x70", "\x31"
	for what, c := range map[string]struct{ relay, source, name, sni, want string }{
		"the truth":                      {zone, "203.0.113.7:1", shared, shared, ok},
		"another relay's name":           {"relay.example.org", "203.0.113.7:1", shared, shared, no},
		"one name, and a hello for more": {zone, "203.0.113.7:1", shared, "other.relay.test", no},
		"a name without a word":          {zone, "203.0.113.7:1", "other.relay.test", "other.relay.test", no},
		"the relay's own name":           {zone, "203.0.113.7:1", zone, zone, no},
	} {
		if got := b.passedOn(t, c.relay, c.source, c.name, c.sni); got != c.want {
			t.Errorf("%s: answered %q, want %q", what, got, c.want)
		}
	}
	if _, err := b.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "203.0.113.7"}); err != nil {
		t.Fatal(err)
	}
	if got := b.passedOn(t, zone, "203.0.113.7:1", shared, shared); got != denied {
		t.Errorf("a banned visitor was answered %q", got)
	}
	hello := helloFor(t, shared)
	for what, first := range map[string][]byte{
		"a header without a mark": v2(t, "203.0.113.8:1", 0),
		"version 1":               []byte("PROXY TCP4 203.0.113.8 192.0.2.80 1 443\r\n"),
		"another version's mark":  bytes.Replace(marked(t, zone, "203.0.113.8:1", shared, 0), []byte("\x01\x00relay.test"), []byte("\x02\x00relay.test"), 1),
		"an unknown kind":         marked(t, zone, "203.0.113.8:1", shared, 7),
		"a half":                  marked(t, zone, "203.0.113.8:1", shared, 0)[:40],
	} {
		c := b.dial()
		c.Write(append(first, hello...))
		c.CloseWrite()
		t.Run(what, func(t *testing.T) { closed(t, c) })
	}
	b.from("127.0.0.6") // an address that is nobody's
	c := b.dial()
	c.Write(append(marked(t, zone, "203.0.113.8:1", shared, 0), hello...))
	closed(t, c)
	b.reaches(shared, "127.0.0.6")
	b.from("127.0.0.1") // who comes from the sibling's address without a header comes as himself
	b.reaches(shared, "127.0.0.1")
	if _, err := b.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if got := b.passedOn(t, zone, "203.0.113.9:1", shared, shared); got != denied {
		t.Errorf("a banned sibling was answered %q", got)
	}
	b.waitForLog("a sibling passes visitors on under another name")
}

// The rules of a device hold for visitors that are passed on, at either relay, and so do
// the limits for their addresses; a CA's validation passes.
func TestRulesHoldForVisitorsWhoArePassedOn(t *testing.T) {
	a, b, id := twoRelays(t)
	deny := framing.Rules{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.5/32")}}
	claim := func(d *device, r framing.Rules) *device {
		if err := d.Claim(t.Context(), framing.Claim{Name: shared, Siblings: []string{zone}, Rules: r}); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, at := range []string{"a", "b"} {
		rules := map[string]framing.Rules{at: deny}
		a.gone(claim(a.device(id), rules["a"]))
		d := claim(b.device(id), rules["b"]).who()
		a.from("127.0.0.5").refused(shared, accessDenied)
		if got := validation(t, a); got != "127.0.0.5:" {
			t.Errorf("a validation got %q", got)
		}
		a.from("127.0.0.6").reaches(shared, "127.0.0.6")
		b.gone(d)
	}
}

// validation is a CA's hello.
func validation(t *testing.T, r *rig) string {
	c := &captured{}
	tls.Client(c, &tls.Config{ServerName: shared, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}).Handshake()
	conn := r.dial()
	defer conn.Close()
	conn.Write(c.first)
	b := make([]byte, len("127.0.0.5:"))
	n, _ := io.ReadFull(conn, b)
	return string(b[:n])
}

// A CA's HTTP-01 request goes to the sibling as well, over the sibling's public port.
func TestChallengeIsPassedOn(t *testing.T) {
	a, b, id := twoRelays(t)
	get, _ := a.plain()
	a.gone(a.named(id, zone))
	answers := b.named(id, zone).serve(func(s *framing.Stream) {
		if s.Header().Kind != framing.KindHTTP01 {
			t.Errorf("the device got a stream of kind %d", s.Header().Kind)
		}
		buf := make([]byte, 4096)
		n, _ := s.Read(buf)
		path := strings.Fields(string(buf[:n]))[1]
		fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		s.Close()
	})
	resp, body := get(shared, "/.well-known/acme-challenge/x")
	if resp.StatusCode != http.StatusOK || body != "/.well-known/acme-challenge/x" {
		t.Errorf("%s: %q", resp.Status, body)
	}
	if resp, _ := get(shared, "/"); resp.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("a browser got %s", resp.Status)
	}
	b.gone(answers)
	if resp, _ := get(shared, "/.well-known/acme-challenge/x"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("with the device nowhere: %s", resp.Status)
	}
}

// A sibling that is down costs the first visitor a dial, and nobody anything for a while
// then. Its visitors wait for the device, as without a sibling.
func TestSiblingThatIsDownIsLeftAlone(t *testing.T) {
	a, _, id := twoRelays(t)
	ln := listenTCP(t)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: ln.Addr().String(), From: here}})
	ln.Close()
	a.gone(a.named(id, zone))
	answers := make(chan string, 3)
	for range 3 {
		go func() {
			got, _ := a.visit(shared, "")
			answers <- got
		}()
	}
	a.waitFor(func() bool { return strings.Contains(a.metrics(), "keystay_holds 3\n") })
	a.named(id, zone).echo("a")
	for range 3 {
		if got := <-answers; !strings.HasPrefix(got, "a:") {
			t.Errorf("a visitor got %q", got)
		}
	}
	a.waitForLog("a sibling does not answer")
	a.shows(`keystay_sibling_up{sibling="relay.test"} 0`)
}

// A relay that is its own sibling, by mistake, passes nothing on to itself for ever.
func TestRelayThatIsItsOwnSibling(t *testing.T) {
	a := newRig(t, nil)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: a.public, From: here}})
	id := newIdentity(t)
	a.gone(a.named(id, zone))
	answer := make(chan string)
	go func() {
		got, _ := a.visit(shared, "")
		answer <- got
	}()
	a.waitFor(func() bool { return strings.Contains(a.metrics(), `answer="not_there",sibling="relay.test"} 1`) })
	a.named(id, zone).echo("a")
	if got := <-answer; !strings.HasPrefix(got, "a:") {
		t.Errorf("the visitor got %q", got)
	}
}

// What a sibling passes on counts for the visitor's address, as the sibling says it.
func TestPassedOnVisitorsCountForTheirAddress(t *testing.T) {
	_, b, id := twoRelays(t)
	b.srv.SetLimits(limits.Config{Exempt: here, Address: limits.Address{Connections: 2}})
	b.named(id, zone).who()
	var answers string
	for range 3 {
		c := b.dial()
		c.Write(append(marked(t, zone, "203.0.113.7:1", shared, 0), helloFor(t, shared)...))
		one := make([]byte, 1)
		io.ReadFull(c, one)
		answers += string(one)
	}
	if answers != "\x00\x00\x31" {
		t.Errorf("answered %q", answers)
	}
	b.srv.SetLimits(limits.Config{Exempt: here, Address: limits.Address{Connections: 3}})
	if got := b.passedOn(t, zone, "203.0.113.7:1", shared, shared); got != "\x00" {
		t.Errorf("with another limit it answered %q", got)
	}
	b.shows(`keystay_limited_total{limit="address_connections"} 1`)
}

// They take nothing of what that address may have here itself: a sibling may say any.
func TestSiblingUsesUpNothingOfAnAddress(t *testing.T) {
	_, b, id := twoRelays(t)
	one := limits.Address{Connections: 1, ConnectionRate: limits.Rate{Count: 1, Per: time.Hour}}
	b.srv.SetLimits(limits.Config{Exempt: here, Address: one})
	b.named(id, zone).who()
	for range 3 {
		b.passedOn(t, zone, "127.0.0.5:1", shared, shared)
	}
	c, err := b.dialFrom("127.0.0.5")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(helloFor(t, shared))
	says(t, c, "127.0.0.5:")
}

// A visitor that a sibling refuses for his own sake costs other visitors of the name nothing.
func TestRefusedVisitorKeepsNobodyFromTheSibling(t *testing.T) {
	a, b, id := twoRelays(t)
	b.srv.SetLimits(limits.Config{Exempt: here, Address: limits.Address{Connections: 1}})
	a.gone(a.named(id, zone))
	b.named(id, zone).who()
	visit := func(from string) net.Conn {
		c, err := a.dialFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write(helloFor(t, shared))
		return c
	}
	says(t, visit("127.0.0.5"), "127.0.0.5:")
	says(t, visit("127.0.0.5"), accessDenied) // one too many
	a.shows(`keystay_sibling_answers_total{answer="refused",sibling="relay.test"} 1`)
	says(t, visit("127.0.0.6"), "127.0.0.6:")
	a.shows(`keystay_sibling_answers_total{answer="not_there",sibling="relay.test"} 0`)
}

// A visitor whose hello asks for no name is not passed on: the sibling would see that it is
// not for the default name.
func TestVisitorWithoutANameIsNotPassedOn(t *testing.T) {
	a, b, id := newRig(t, func(s *relay.Server) { s.DefaultName = shared }), newRig(t, nil), newIdentity(t)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: b.public, From: here}})
	b.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: a.public, From: here}})
	a.gone(a.named(id, zone))
	b.named(id, zone).who()
	c := a.dial()
	defer c.Close()
	c.Write(helloFor(t, ""))
	a.waitFor(func() bool { return strings.Contains(a.metrics(), "keystay_holds 1\n") })
	if got, _ := a.visit(shared, ""); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("a visitor with a name got %q", got)
	}
	a.shows(`keystay_sibling_answers_total{answer="not_there",sibling="relay.test"} 0`)
	a.named(id, zone).who() // for whom the first one waits
	says(t, c, "127.0.0.1:")
}

// While a run has its old link beside the one with a new key, either has the word.
func TestSiblingPassesOnWhileTheKeyChanges(t *testing.T) {
	_, b, old := twoRelays(t)
	b.named(old, zone).who()
	heir, list := heirOf(t, old)
	if err := b.device(heir).who().Claim(t.Context(), framing.Claim{Name: shared, Siblings: []string{zone}, Handovers: list}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if got := b.passedOn(t, zone, "203.0.113.7:1", shared, shared); got != "\x00" {
			t.Errorf("answered %q", got)
		}
	}
}

// A sibling that closes the connection in the place of an answer costs the visitor nothing
// but the asking, and others nothing: they are passed on.
func TestSiblingThatBreaksOffIsAskedForOthers(t *testing.T) {
	a, _, id := twoRelays(t)
	ln := listenTCP(t)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: ln.Addr().String(), From: here}})
	served := make(chan struct{})
	go func() {
		defer close(served)
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if i > 0 {
				io.CopyN(io.Discard, c, 16) // it has come
				c.Write([]byte("\x00b"))
			}
			c.Close()
		}
	}()
	d := a.named(id, zone)
	if err := d.Claim(t.Context(), framing.Claim{Name: "other.relay.test", Siblings: []string{zone}}); err != nil {
		t.Fatal(err)
	}
	a.gone(d)
	l := a.dial()
	l.Write(helloFor(t, shared))
	a.waitFor(func() bool {
		return strings.Contains(a.metrics(), `keystay_sibling_answers_total{answer="broken",sibling="relay.test"} 1`)
	})
	c := a.dial()
	c.Write(helloFor(t, "other.relay.test"))
	gets(t, c, "b")
	a.waitForLog("a sibling does not answer")
	a.shows(`keystay_sibling_up{sibling="relay.test"} 1`)
	ln.Close()
	<-served
}
