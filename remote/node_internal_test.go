package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/placing"
	"keystay/internal/testca"
)

// A node is dialled at the same kind of address as the relay itself was, and nowhere
// else; a stranger's address counts against a bound, one of the relay's does not.
func TestNodesAreDialledAtTheKindOfAddressOfTheRelay(t *testing.T) {
	addresses := map[kind]string{kindLoopback: "127.0.0.7:443", kindLinkLocal: "169.254.9.9:443", kindPrivate: "10.0.0.9:443", kindPublic: "9.9.9.9:443"}
	for reached, own := range addresses {
		var d doors
		if err := d.control("tcp", own, nil); !errors.Is(err, errOtherKind) {
			t.Errorf("before the relay was reached: %v", err)
		}
		d.verified(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(own)), target{})
		for kind, address := range addresses {
			at, _ := netip.ParseAddrPort(address)
			other := netip.AddrPortFrom(at.Addr().Next(), 22).String()
			if err := d.control("tcp", other, nil); (err == nil) != (kind == reached) {
				t.Errorf("a relay at %s, a node at %s: %v", own, other, err)
			}
		}
		for _, none := range []string{"0.0.0.0:443", "[::]:443", "255.255.255.255:443", "224.0.0.1:443", "[ff02::1]:443"} {
			if err := d.control("tcp", none, nil); err == nil {
				t.Errorf("%s is dialled", none)
			}
		}
	}
	for address, want := range map[string]kind{"::ffff:10.0.0.1": kindPrivate, "fd00::1": kindPrivate, "fe80::1%eth0": kindLinkLocal, "::1": kindLoopback,
		"100.64.0.1": kindPrivate, "2606:4700::1": kindPublic, "64:ff9b::a00:1": kindPrivate, "2002:a00:1::": kindPrivate} {
		if got := kindOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// A node that is verified at a private address does not make other private ones be
// dialled where the relay itself is public.
func TestNodeOpensNoKindOfAddress(t *testing.T) {
	var d doors
	d.verified(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("9.9.9.9:443")), target{})
	d.verified(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:443")), target{"a", "10.0.0.1:443"})
	if err := d.control("tcp", "10.0.0.2:443", nil); !errors.Is(err, errOtherKind) {
		t.Errorf("%v", err)
	}
}

// On another network a private address is another machine: no node is dialled there before
// the relay itself was reached there. A public one is the same everywhere.
func TestPrivateAddressesAreForgottenWithTheNetwork(t *testing.T) {
	for own, want := range map[string]bool{"10.0.0.1:443": false, "127.0.0.1:443": false, "9.9.9.9:443": true} {
		var d doors
		at, _ := netip.ParseAddrPort(own)
		d.verified(net.TCPAddrFromAddrPort(at), target{})
		d.forget()
		if err := d.control("tcp", own, nil); (err == nil) != want || d.areShut() == want {
			t.Errorf("%s: %v", own, err)
		}
	}
}

// However many addresses a relay tells of, few are dialled that are not its own.
func TestStrangersAddressesAreDialledRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d doors
		d.verified(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("9.9.9.9:443")), target{})
		dialled := 0
		for i := range 24 * 60 { // one each minute of a day
			address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), 443)
			switch err := d.control("tcp", address.String(), nil); {
			case err == nil:
				dialled++
			case !errors.Is(err, errStrange):
				t.Fatal(err)
			}
			if err := d.control("tcp", "9.9.9.9:443", nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if dialled < maxStrange || dialled > 2*maxStrange+1 {
			t.Errorf("%d strangers were dialled in a day", dialled)
		}
	})
}

func TestAddressesOfNodesAreChecked(t *testing.T) {
	for address, want := range map[string]bool{"a.relay.test:443": true, "[2001:db8::1]:8443": true, "192.0.2.1:1": true,
		"": false, "a.relay.test": false, ":443": false, "a:0": false, "a:65536": false, "a:https": false, "a:-1": false, "a:443:1": false, "relay.test:443": false, "RELAY.test:443": false, "relay.test:8443": true} {
		if got := dialable(address, "relay.test") != ""; got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// Through a proxy a node is dialled at the relay's port, and never at a private address.
func TestNodesBehindAProxy(t *testing.T) {
	dialled := make(chan string, 16)
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dialled <- r.Host
		w.WriteHeader(http.StatusBadGateway)
	})}
	go srv.Serve(proxy)
	defer srv.Close()
	w := &way{}
	u := &url.URL{Scheme: "http", Host: proxy.Addr().String()}
	for address, want := range map[string]bool{"a.relay.test:443": true, "9.9.9.9:443": true,
		"a.relay.test:22": false, "10.0.0.1:443": false, "127.0.0.1:443": false, "[::1]:443": false, "[::ffff:10.0.0.1]:443": false} {
		_, err := w.dialNode(t.Context(), u, "443", address)
		if asked := !errors.Is(err, errNodeAtPort); err == nil || asked != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	if len(dialled) != 2 {
		t.Errorf("the proxy was asked for %d", len(dialled))
	}
}

// wayOf is a way of a device that dials nothing.
func wayOf(t *testing.T) *way {
	s, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{state: s, log: slog.New(slog.DiscardHandler), cfg: DeviceConfig{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}}
	d.ctx = t.Context()
	d.transports.init(TransportTLS, s)
	w := newWay(d, route{candidates: []string{"relay.test"}})
	w.nodes.seed = make([]byte, ed25519.PublicKeySize)
	return w
}

func listOf(own string, weights ...uint16) framing.Nodes {
	list := framing.Nodes{Own: own}
	for i, weight := range weights {
		list.List = append(list.List, framing.Node{Name: fmt.Sprint("n", i), Address: fmt.Sprintf("192.0.2.%d:443", i+1), Weight: weight})
	}
	return list
}

// names are the nodes that take links.
func names(list []placing.Node) (all []string) {
	for _, n := range list {
		if n.Weight > 0 && !n.Away {
			all = append(all, n.Name)
		}
	}
	return all
}

// Nodes that are cut off from each other tell different lists: each knows itself, and
// what one of them tells counts until it tells otherwise. With the last link the device
// does not forget them.
func TestListsOfNodesAreTakenTogether(t *testing.T) {
	n := wayOf(t).nodes
	a, to := n.berth("relay.test", "")
	if to != (target{}) {
		t.Errorf("dials %v, and knows nothing", to)
	}
	a.hear("relay.test", listOf("n0", 100, 100, 100))
	b, to := n.berth("relay.test", "")
	if to.node == "n0" || to.node == "" {
		t.Errorf("dials %v", to)
	}
	b.hear("relay.test", framing.Nodes{Own: "n1", List: listOf("", 0, 100).List}) // it says that n0 goes, and does not see n2
	if list, links := n.look(); !slices.Equal(names(list), []string{"n0", "n1", "n2"}) || !slices.Equal(links, []string{"n0", "n1"}) {
		t.Errorf("%v, links %v", list, links)
	}
	a.leave()
	if list, _ := n.look(); !slices.Equal(names(list), []string{"n1"}) {
		t.Errorf("%v", list)
	}
	b.leave()
	if list, links := n.look(); !slices.Equal(names(list), []string{"n1"}) || len(links) != 0 {
		t.Errorf("%v, links %v", list, links)
	}
	if c, to := n.berth("another.test", ""); to != (target{}) {
		t.Errorf("another relay is dialled at %v", to)
	} else {
		c.leave()
	}
}

// A node that is not reached is left alone for longer each time, and is there again when
// the network has changed. One that goes away is left alone for as long as it says,
// within bounds; a takeover is no reason.
func TestNodesThatFailAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wayOf(t).nodes
		a, _ := n.berth("relay.test", "")
		a.hear("relay.test", listOf("n0", 100, 100))
		takes := func() []string { list, _ := n.look(); return names(list) }
		both := []string{"n0", "n1"}
		total := time.Duration(0)
		for i := range 8 {
			n.failed("n1")
			for !slices.Equal(takes(), both) {
				time.Sleep(time.Second)
				if total += time.Second; total > 10*maxAway {
					t.Fatal("it is never dialled again")
				}
			}
			if i == 0 && total > 2*firstAway {
				t.Errorf("after the first failure it is left alone for %v", total)
			}
		}
		if total < maxAway {
			t.Errorf("after 8 failures it was left alone for %v in all", total)
		}
		n.failed("n1")
		n.forget()
		if !slices.Equal(takes(), both) {
			t.Error("another network changes nothing")
		}
		n.lasted("n1", time.Second, true)
		if slices.Equal(takes(), both) {
			t.Error("a node on which a link does not last is dialled again at once")
		}
		n.forget()
		a.goes(framing.GoAway{Code: framing.GoAwayTakeover, In: time.Hour})
		if !slices.Equal(takes(), both) {
			t.Error("a takeover counts as the node's end")
		}
		a.goes(framing.GoAway{In: time.Hour})
		if !slices.Equal(takes(), []string{"n1"}) {
			t.Error("a node that goes takes links")
		}
		time.Sleep(maxGoing + time.Second)
		if !slices.Equal(takes(), both) {
			t.Error("a node that has gone for an hour, by its word, is not dialled again")
		}
		a.leave()
	})
}

// However often the nodes change, links move now and then: an hour has room for few.
func TestMovesAreRareHoweverOftenNodesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wayOf(t)
		a, _ := w.nodes.berth("relay.test", "")
		m := mover{w: w, measured: quickMeasures}
		due := 0
		for i := range 3600 {
			list := listOf("n0", uint16(i%2), uint16((i+1)%2), 0)
			a.hear("relay.test", list)
			now := time.Now()
			nodes, links := w.nodes.look()
			m.plan(now, nodes, links, false)
			if !m.at.IsZero() && !m.at.After(now) {
				m.at, m.moved = time.Time{}, now
				m.moves++
				due++
			}
			time.Sleep(time.Second)
		}
		if due > 16 {
			t.Errorf("%d moves in an hour", due)
		}
		a.leave()
	})
}

// Moves of many remotes are spread, and a move for the better waits until the near nodes
// are measured.
func TestMovesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			list  framing.Nodes
			why   placing.Why
			most  time.Duration
			links int
		}{
			{listOf("n0", 0, 100), placing.Leaving, placing.Leaving.Within(), 1},
			{listOf("n0", 100, 100), placing.Apart, placing.Apart.Within(), 2},
			{listOf("n0", 1, 1000), placing.Better, firstBetter, 1},
		} {
			var latest time.Duration
			w := wayOf(t)
			for range 50 {
				w.nodes = newNodes(w.nodes.seed)
				for range c.links {
					b, _ := w.nodes.berth("relay.test", "")
					b.hear("relay.test", c.list)
				}
				m := mover{w: w, began: time.Now()}
				list, links := w.nodes.look()
				now := time.Now()
				m.plan(now, list, links, true)
				if c.why == placing.Better && !m.at.IsZero() {
					t.Fatal("a move for the better, and nothing is measured")
				}
				m.plan(now, list, links, false)
				if m.at.IsZero() || m.planned.Why != c.why {
					t.Fatalf("%+v", m)
				}
				latest = max(latest, m.at.Sub(now))
			}
			if latest < c.most/2 || latest > c.most {
				t.Errorf("%v: at the latest after %v, of %v", c.why, latest, c.most)
			}
			if c.why != placing.Better {
				continue
			}
			time.Sleep(firstTime) // a device that has run for long
			later := mover{w: w, began: time.Now().Add(-firstTime)}
			list, links := w.nodes.look()
			var spread time.Duration
			for range 50 {
				later.at = time.Time{}
				later.plan(time.Now(), list, links, false)
				spread = max(spread, time.Until(later.at))
			}
			if spread < placing.Better.Within()/2 {
				t.Errorf("later it is spread over %v", spread)
			}
		}
	})
}

// The round trip to a node is measured where the relay's name is verified, and what is no
// node of the relay has none.
func TestRoundTripsAreMeasuredToVerifiedNodes(t *testing.T) {
	ca := testca.New(t)
	answers := func(cert tls.Certificate) net.Listener {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{framing.Protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { c.(*tls.Conn).Handshake(); c.Close() }()
			}
		}()
		return ln
	}
	good, bad := answers(ca.Issue("relay.test")), answers(ca.Issue("other.test"))
	w := wayOf(t)
	w.d.cfg.RelayRoots = ca.Pool()
	if _, err := w.measureNode(t.Context(), "relay.test", target{"a", good.Addr().String()}); !errors.Is(err, errOtherKind) {
		t.Errorf("before the relay was reached: %v", err)
	}
	w.doors.verified(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 443}, target{})
	for range 2 {
		if rtt, err := w.measureNode(t.Context(), "relay.test", target{"a", good.Addr().String()}); err != nil || rtt <= 0 {
			t.Errorf("%v, %v", rtt, err)
		}
	}
	if _, err := w.measureNode(t.Context(), "relay.test", target{"b", bad.Addr().String()}); err == nil {
		t.Error("a node of another relay was measured")
	}
	if !w.doors.isOpen(good.Addr()) || w.doors.isOpen(bad.Addr()) {
		t.Error("what is verified is not kept, or what is not is")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.measureNode(ctx, "relay.test", target{"a", good.Addr().String()}); err == nil {
		t.Error("measured after the end")
	}
}
