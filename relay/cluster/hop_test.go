package cluster

import (
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// Alerts, as records (RFC 8446, section 6).
const (
	accessDenied  = "\x15\x03\x03\x00\x02\x02\x31"
	internalError = "\x15\x03\x03\x00\x02\x02\x50"
)

// A visitor of a node at which the name's remote has no link gets to it all the same,
// with its own address.
func TestVisitorHopsToTheNodeOfTheLink(t *testing.T) {
	r := newHopRig(t, 2, nil)
	headers := make(chan framing.Header, 1)
	d := r.nodes[1].device(func(s *framing.Stream) { headers <- s.Header(); echo("device")(s) }, framing.Claim{})
	c := r.nodes[0].visit()
	got, err := converse(c, append(clientHello(t, d.label()), "more"...))
	if err != nil || !strings.HasPrefix(got, "device:") || !strings.HasSuffix(got, "more") {
		t.Errorf("got %.40q, %v", got, err)
	}
	h := <-headers
	if h.Name != d.label() || h.Kind != framing.KindTLS || h.Source.String() != c.LocalAddr().String() || h.Dest.String() != c.RemoteAddr().String() {
		t.Errorf("the device was told %+v", h)
	}
}

// A node that is asked to take a visitor and has no link of the name says no, even where
// it knows a third node that has: a visitor hops once at most. The first one drops what
// it took for true and asks the third.
func TestVisitorIsNeverPassedOnTwice(t *testing.T) {
	r := newHopRig(t, 3, nil)
	a, b := r.nodes[0], r.nodes[1]
	d := r.nodes[2].device(echo("device"), framing.Claim{})
	a.believe(d.label(), "b")
	if got, err := a.says(d.label(), "more"); err != nil || !strings.HasPrefix(got, "device:") {
		t.Errorf("got %.40q, %v", got, err)
	}
	if !slices.Equal(a.asks(), []string{"b", "c"}) || len(b.asks()) != 0 || !slices.Equal(a.misses(), []string{"b/" + d.label()}) {
		t.Errorf("a asked %q, b asked %q, missing was %q", a.asks(), b.asks(), a.misses())
	}
	got, err := a.says(d.label(), "more")
	if err != nil || !strings.HasPrefix(got, "device:") || len(a.asks()) != 3 {
		t.Errorf("then got %.40q, %v; a asked %q", got, err, a.asks())
	}
}

// A name that no node has, as those say that were asked, is waited for, and a remote
// that then comes up at the visitor's own node gets the visitor.
func TestVisitorWaitsWhereAllNodesSayNo(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a := r.nodes[0]
	_, key, _ := ed25519.GenerateKey(nil)
	name := (&hopDevice{key: key}).label()
	a.believe(name, "b")
	c := a.visit()
	c.Write(clientHello(t, name))
	eventually(t, "the other node is asked", func() bool { return len(a.asks()) == 1 })
	a.deviceOf(key, echo("device"), framing.Claim{})
	expect(t, c, "device:")
}

// An end is passed on as an end, each way by itself, and a reset as a reset, over the hop
// too: a truncated transfer never looks complete.
func TestEndsAndResetsGoThroughAHop(t *testing.T) {
	for name, check := range map[string]func(t *testing.T, c *net.TCPConn, s *framing.Stream, r *hopRig){
		"the visitor ends": func(t *testing.T, c *net.TCPConn, s *framing.Stream, _ *hopRig) {
			s.Write([]byte("x"))
			expect(t, c, "x")
			c.Write([]byte("last"))
			c.CloseWrite()
			if b, err := io.ReadAll(s); err != nil || !strings.HasSuffix(string(b), "last") {
				t.Errorf("the device got %q, %v", b, err)
			}
			s.Write([]byte("answer"))
			s.Close()
			if b, err := io.ReadAll(c); err != nil || string(b) != "answer" {
				t.Errorf("the visitor got %q, %v", b, err)
			}
		},
		"the device ends": func(t *testing.T, c *net.TCPConn, s *framing.Stream, _ *hopRig) {
			s.Write([]byte("last"))
			s.CloseWrite()
			if b, err := io.ReadAll(c); err != nil || string(b) != "last" {
				t.Errorf("the visitor got %q, %v", b, err)
			}
			c.Write([]byte("answer"))
			c.CloseWrite()
			if b, err := io.ReadAll(s); err != nil || !strings.HasSuffix(string(b), "answer") {
				t.Errorf("the device got %q, %v", b, err)
			}
			s.Close()
		},
		"the visitor resets": func(t *testing.T, c *net.TCPConn, s *framing.Stream, _ *hopRig) {
			c.SetLinger(0)
			c.Close()
			if _, err := io.Copy(io.Discard, s); !wasReset(err) {
				t.Errorf("the device sees %v", err)
			}
		},
		"the device resets": func(t *testing.T, c *net.TCPConn, s *framing.Stream, _ *hopRig) {
			s.Write([]byte("half"))
			expect(t, c, "half")
			s.Reset()
			if _, err := io.Copy(io.Discard, c); !wasReset(err) {
				t.Errorf("the visitor sees %v", err)
			}
		},
		"the visitor's node dies": func(t *testing.T, c *net.TCPConn, s *framing.Stream, r *hopRig) {
			r.nodes[0].srv.Close()
			if _, err := io.Copy(io.Discard, s); !wasReset(err) {
				t.Errorf("the device sees %v", err)
			}
			if _, err := io.Copy(io.Discard, c); !wasReset(err) {
				t.Errorf("the visitor sees %v", err)
			}
		},
		"the link's node dies": func(t *testing.T, c *net.TCPConn, s *framing.Stream, r *hopRig) {
			s.Write([]byte("half"))
			expect(t, c, "half")
			r.nodes[1].srv.Close()
			if _, err := io.Copy(io.Discard, c); !wasReset(err) {
				t.Errorf("the visitor sees %v", err)
			}
		},
		"the link is lost": func(t *testing.T, c *net.TCPConn, s *framing.Stream, r *hopRig) {
			s.Write([]byte("half"))
			expect(t, c, "half")
			r.nodes[1].srv.Cut(relay.Cut{Name: s.Header().Name})
			if _, err := io.Copy(io.Discard, c); !wasReset(err) {
				t.Errorf("the visitor sees %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHopRig(t, 2, nil)
			streams := make(chan *framing.Stream, 1)
			d := r.nodes[1].device(func(s *framing.Stream) { streams <- s }, framing.Claim{})
			c := r.nodes[0].visit()
			c.Write(clientHello(t, d.label()))
			s := <-streams
			<-r.nodes[0].hopped
			check(t, c, s, r)
		})
	}
}

// The device's rules are asked at the node of its link, and the visitor is told by the
// alert, as there. The node that it has come to counts it.
func TestRulesCountForVisitorsWhoHop(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a, b := r.nodes[0], r.nodes[1]
	d := b.device(echo("device"), framing.Claim{Rules: framing.Rules{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if got, err := a.says(d.label(), ""); got != accessDenied || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if n := a.srv.Status().RefusedFor["rule"]; n != 1 {
		t.Errorf("the visitor's node counts %d", n)
	}
	if n := b.srv.Status().RefusedTotal; n != 0 {
		t.Errorf("the link's node counts %d", n)
	}
	got, err := converse(a.visit(), clientHello(t, d.label(), "acme-tls/1"))
	if err != nil || !strings.HasPrefix(got, "device:") {
		t.Errorf("a CA's validation got %q, %v", got, err)
	}
}

// The limits of a name count at the node of its link, for visitors of all nodes.
func TestLimitsOfANameCountForVisitorsWhoHop(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a, b := r.nodes[0], r.nodes[1]
	b.srv.SetLimits(limits.Config{Exempt: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Name: limits.Owner{Streams: 1}})
	d := b.device(echo("device"), framing.Claim{})
	first := a.visit()
	first.Write(clientHello(t, d.label()))
	expect(t, first, "device:")
	for _, n := range []*hopNode{a, b} {
		if got, err := n.says(d.label(), ""); got != internalError || err != nil {
			t.Errorf("at %s: got %q, %v", n.name, got, err)
		}
	}
	if na, nb := a.srv.Status().RefusedFor["limit"], b.srv.Status().LimitsMet["name_streams"]; na != 1 || nb != 2 {
		t.Errorf("a refused %d, b met the limit %d times", na, nb)
	}
	first.Close()
	eventually(t, "there is room again", func() bool { return b.srv.Visitors() == 0 })
	if got, err := a.says(d.label(), ""); err != nil || !strings.HasPrefix(got, "device:") {
		t.Errorf("then got %q, %v", got, err)
	}
}

// What an operator bans is banned at whichever node it is known first, for visitors who
// hop as for others.
func TestBansCountForVisitorsWhoHop(t *testing.T) {
	for name, at := range map[string]int{"the visitor's node": 0, "the link's node": 1} {
		t.Run(name, func(t *testing.T) {
			r := newHopRig(t, 2, nil)
			a := r.nodes[0]
			d := r.nodes[1].device(echo("device"), framing.Claim{})
			here := dialFrom(t, "127.0.0.2", a.public)
			here.Write(clientHello(t, d.label()))
			expect(t, here, "device:")
			local := netip.MustParsePrefix("127.0.0.2/32")
			if _, err := r.nodes[at].srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: local.String()}); err != nil {
				t.Fatal(err)
			}
			r.nodes[at].srv.Cut(relay.Cut{Addresses: local})
			if _, err := io.Copy(io.Discard, here); !wasReset(err) {
				t.Errorf("the visitor who is there sees %v", err)
			}
			next := dialFrom(t, "127.0.0.2", a.public)
			if got, _ := converse(next, clientHello(t, d.label())); got != accessDenied {
				t.Errorf("the next one got %q", got)
			}
			if asked := len(a.asks()); asked != 1+at {
				t.Errorf("%d visitors hopped", asked)
			}
			if n := a.srv.Status().RefusedFor["banned"]; n != 1 {
				t.Errorf("the visitor's node counts %d", n)
			}
		})
	}
}

// A CA's HTTP-01 request may come to any node.
func TestHTTP01RequestHops(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a := r.nodes[0]
	kinds := make(chan framing.Header, 1)
	d := r.nodes[1].device(func(s *framing.Stream) {
		kinds <- s.Header()
		b := make([]byte, 1024)
		n, _ := s.Read(b)
		if !strings.HasPrefix(string(b[:n]), "GET /.well-known/acme-challenge/token HTTP/1.1\r\n") {
			t.Errorf("the device was asked %q", b[:n])
		}
		io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer")
		s.Close()
	}, framing.Claim{})
	port80 := listen(t)
	go a.srv.ServeHTTP01(port80)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequest("GET", "http://"+port80.Addr().String()+path, nil)
		req.Host = d.label()
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	if resp, body := get("/.well-known/acme-challenge/token"); resp.StatusCode != 200 || body != "answer" {
		t.Errorf("%s %q", resp.Status, body)
	}
	if h := <-kinds; h.Kind != framing.KindHTTP01 || h.Name != d.label() {
		t.Errorf("the device was told %+v", h)
	}
	if resp, _ := get("/page"); resp.StatusCode != http.StatusPermanentRedirect && resp.StatusCode != http.StatusMovedPermanently {
		t.Errorf("a browser is told %s", resp.Status)
	}
	a.believe(d.label(), "b")
	r.nodes[1].srv.Cut(relay.Cut{Name: d.label()})
	if resp, _ := get("/.well-known/acme-challenge/token"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("for a device that is away: %s", resp.Status)
	}
}

// A node that leaves says no to visitors of other nodes, and waits for those that it has.
func TestNodeThatLeavesServesVisitorsWhoHaveHopped(t *testing.T) {
	r := newHopRig(t, 3, nil)
	a, b := r.nodes[0], r.nodes[1]
	_, key, _ := ed25519.GenerateKey(nil)
	d := b.deviceOf(key, echo("device"), framing.Claim{})
	c := a.visit()
	first := clientHello(t, d.label())
	c.Write(first)
	expect(t, c, "device:"+string(first))
	left := make(chan error, 1)
	go func() { left <- b.srv.Shutdown(t.Context()) }()
	eventually(t, "it leaves", func() bool { _, ok := b.srv.Present(d.label()); return !ok })
	b.hops.end()
	r.nodes[2].deviceOf(key, echo("device at c"), framing.Claim{})
	a.believe(d.label(), "b")
	if got, err := a.says(d.label(), ""); err != nil || !strings.HasPrefix(got, "device at c:") {
		t.Errorf("a new visitor got %q, %v", got, err)
	}
	select {
	case err := <-left:
		t.Errorf("it has not waited: %v", err)
	default:
	}
	c.Write([]byte("still here"))
	expect(t, c, "still here")
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("at the end: %q, %v", b, err)
	}
	select {
	case err := <-left:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it has not left")
	}
}

// When a new process takes over a node, visitors who have hopped there stay with the old
// one, and the next ones get to the new one: no connection that was dialled before leads
// them astray.
func TestTakeoverOfTheLinksNode(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a, old := r.nodes[0], r.nodes[1]
	_, key, _ := ed25519.GenerateKey(nil)
	d := old.deviceOf(key, echo("old"), framing.Claim{})
	a.pools.up("b")
	c := a.visit()
	first := clientHello(t, d.label())
	c.Write(first)
	expect(t, c, "old:"+string(first))
	eventually(t, "spare connections are there", func() bool { n := a.pools.count(); return n >= minSpare && old.hops.count() == n })

	r.set(1, r.node("b", nil))
	left := make(chan error, 1)
	go func() {
		left <- old.srv.HandOver(t.Context(), func(net.Conn, []byte) error { return net.ErrClosed })
	}()
	eventually(t, "the old process leaves", func() bool { _, ok := old.srv.Present(d.label()); return !ok })
	old.hops.end()
	r.nodes[1].deviceOf(key, echo("new"), framing.Claim{})
	for range 2 * minSpare {
		if got, err := a.says(d.label(), ""); err != nil || !strings.HasPrefix(got, "new:") {
			t.Errorf("a new visitor got %.40q, %v", got, err)
		}
	}
	c.Write([]byte("still here"))
	expect(t, c, "still here")
	c.Close()
	select {
	case err := <-left:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the old process has not left")
	}
}

// Visitors of a TCP port come to any node: each listens on it, and knows when to end.
func TestTCPPortIsListenedOnAtEachNode(t *testing.T) {
	ports := make(map[string]string) // the address of the port at each node
	r := newHopRig(t, 2, func(n *hopNode) {
		n.srv.Names.Ports = names.Ports{First: 20000, Last: 20009}
		n.srv.ListenPort = func(uint16) ([]net.Listener, error) {
			ln := listen(t)
			ports[n.name] = ln.Addr().String()
			return []net.Listener{ln}, nil
		}
	})
	a, b := r.nodes[0], r.nodes[1]
	headers := make(chan framing.Header, 1)
	d := b.device(func(s *framing.Stream) { headers <- s.Header(); echo("device")(s) })
	got, err := d.Claim(t.Context(), framing.Claim{Name: framing.PortName(22, zone)})
	if err != nil {
		t.Fatal(err)
	}
	name := names.PortName(zone, got.Port)
	at, ok := b.srv.Present(name)
	if !ok {
		t.Fatal("the port is not there")
	}
	a.srv.ClaimedOnNode(relay.Claimed{Name: name, Key: at.Key, Run: at.Runs[0]})
	if ports["a"] == "" {
		t.Fatal("the other node does not listen")
	}
	c := dialTCP(t, ports["a"])
	expect(t, c, "device:")
	c.Write([]byte("more"))
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "more" {
		t.Errorf("got %q, %v", b, err)
	}
	if h := <-headers; h.Name != framing.PortName(22, zone) || h.Kind != framing.KindTCP || h.Source.String() != c.LocalAddr().String() {
		t.Errorf("the device was told %+v", h)
	}
	b.srv.Cut(relay.Cut{Name: name})
	a.believe(name, "b")
	if next, err := net.Dial("tcp", ports["a"]); err == nil { // this node's own record does not have the port: it is reset
		defer next.Close()
	}
	eventually(t, "the other node is asked", func() bool { return len(a.asks()) == 2 })
}

// What is carried by a hop is counted at both nodes, each by its part.
func TestHopsAreCounted(t *testing.T) {
	r := newHopRig(t, 2, nil)
	a, b := r.nodes[0], r.nodes[1]
	d := b.device(echo("device"), framing.Claim{})
	c := a.visit()
	first := clientHello(t, d.label())
	c.Write(first)
	expect(t, c, "device:")
	for n, want := range map[*hopNode][]string{
		a: {`keystay_hops{direction="out"} 1`, `keystay_hops{direction="in"} 0`, `keystay_hops_total{direction="out"} 1`, `keystay_visitors_by_carrier{carrier="hop"} 1`, "keystay_hop_seconds_count 1", "keystay_visitors 1"},
		b: {`keystay_hops{direction="in"} 1`, `keystay_hops{direction="out"} 0`, `keystay_visitors_by_carrier{carrier="stream"} 1`, "keystay_visitors 1", "keystay_first_byte_seconds_count 0"},
	} {
		n.shows(t, want...)
	}
	c.Close()
	eventually(t, "it is over", func() bool { return a.srv.Visitors()+b.srv.Visitors() == 0 })
	in := `keystay_bytes_total{carrier="%",direction="to_remote"} ` + strconv.Itoa(len(first))
	a.shows(t, `keystay_hops{direction="out"} 0`, strings.Replace(in, "%", "hop", 1), `keystay_bytes_total{carrier="stream",direction="to_remote"} 0`)
	b.shows(t, `keystay_hops{direction="in"} 0`, strings.Replace(in, "%", "stream", 1), `keystay_bytes_total{carrier="hop",direction="to_remote"} 0`)
	a.believe("nobody.relay.test", "b")
	c = a.visit()
	c.Write(clientHello(t, "nobody.relay.test"))
	eventually(t, "it is asked for", func() bool { return len(a.asks()) == 2 })
	c.Close()
	eventually(t, "it is over", func() bool { return a.srv.Visitors() == 0 && len(a.misses()) > 0 })
	a.shows(t, `keystay_hops_failed_total{answer="not_there"} 1`)
	if log := a.log.String() + b.log.String(); strings.Contains(log, d.label()) && strings.Contains(log, c.LocalAddr().String()) {
		t.Errorf("the logs have the visitor:\n%s", log)
	}
}
