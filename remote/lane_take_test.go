package remote_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote"
)

// bulk is how many bytes make a visitor bulk in these tests.
const bulk = 64 << 10

// A lanedNode is the node that visitors come to, whose remote has its link at a
// fakeRelay: the lanes of it, and nothing else.
type lanedNode struct {
	t      *testing.T
	ln     net.Listener
	dialed chan struct{} // one element for each connection
	served chan error    // what ServeLane returned
	broken bool          // it has no TLS

	mu      sync.Mutex
	detours map[framing.LaneToken]*framing.Detour
}

func newLanedNode(t *testing.T, ca *testca.CA, broken bool) *lanedNode {
	t.Helper()
	n := &lanedNode{t: t, dialed: make(chan struct{}, 100), served: make(chan error, 100), broken: broken, detours: make(map[framing.LaneToken]*framing.Detour)}
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(zone)}, NextProtos: []string{framing.LaneProtocol}}
	n.ln = acceptAll(t, func(c net.Conn) {
		n.dialed <- struct{}{}
		if n.broken {
			c.Close()
			return
		}
		tc := tls.Server(&framing.TLSRecordConn{Conn: c}, config)
		if tc.Handshake() != nil {
			c.Close()
			return
		}
		n.served <- framing.ServeLane(tc, func(framing.LaneToken) *framing.Link { return nil }, n.find, nil)
	})
	return n
}

func (n *lanedNode) find(t framing.LaneToken) *framing.Detour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.detours[t]
}

// visitor brings a visitor over a hop to the link, with an offer of the node's, and
// returns it after its TLS handshake. Hop is its connection at this node.
func (n *lanedNode) visitor(l *relayLink, node string) (visitor *tls.Conn, hop net.Conn) {
	n.t.Helper()
	near, far := testnet.TCPPair(n.t)
	hopA, hopB := testnet.TCPPair(n.t)
	offer := framing.LaneOffer{Node: node, Token: framing.NewLaneToken()}
	d := framing.NewDetour(hopA, 0)
	n.mu.Lock()
	n.detours[offer.Token] = d
	n.mu.Unlock()
	s, err := l.Open(framing.Header{Name: domain, Source: visitorAddr, Dest: netip.MustParseAddrPort("203.0.113.1:443"), Lane: offer}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { duplex.Copy(far, d, duplex.Options{}) })
	wg.Go(func() { duplex.Copy(hopB, s, duplex.Options{}) })
	n.t.Cleanup(func() {
		near.Close()
		d.Reset()
		s.Reset()
		wg.Wait()
	})
	near.SetDeadline(time.Now().Add(patience))
	tc := tls.Client(near, &tls.Config{RootCAs: l.ca.Pool(), ServerName: domain})
	if err := tc.Handshake(); err != nil {
		n.t.Fatal(err)
	}
	return tc, hopA
}

// echo serves visitors by sending back what they send.
func echo(ln *remote.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// says has a visitor send bytes and get them back.
func says(t *testing.T, visitor net.Conn, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("x"), n)
	go visitor.Write(sent)
	got := make([]byte, n)
	if _, err := io.ReadFull(visitor, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatal("the visitor does not get what it has sent:", err)
	}
}

// within waits for an element.
func within[T any](t *testing.T, c <-chan T, what string) (e T) {
	t.Helper()
	select {
	case e = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain for", what)
	}
	return e
}

// laned is a relay with lanes, and a remote with one link to it.
func laned(t *testing.T) (r *fakeRelay, link *relayLink) {
	r = newRelay(t, func(r *fakeRelay) { r.wanted = make(chan int, 100) })
	r.nodes = framing.Nodes{Own: "b", List: []framing.Node{{Name: "b", Address: r.addr, Weight: 100}}}
	ln := r.start(func(cfg *remote.Config) { cfg.LaneAfter = bulk })
	go echo(ln)
	link = r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	return r, link
}

// tellOf has the relay tell of other nodes.
func (r *fakeRelay) tellOf(l *relayLink, list ...framing.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes.List = append(r.nodes.List[:1:1], list...)
	l.TellNodes(r.nodes)
}

// A visitor that turns out to be bulk is taken from the node that it has come to, and
// goes on without the hop and the link.
func TestBulkVisitorIsTakenFromItsNode(t *testing.T) {
	r, link := laned(t)
	a := newLanedNode(t, r.ca, false)
	r.tellOf(link, framing.Node{Name: "a", Address: a.ln.Addr().String()})
	visitor, hop := a.visitor(link, "a")
	says(t, visitor, 100)
	says(t, visitor, 2*bulk)
	if err := within(t, a.served, "a lane"); err != nil {
		t.Fatal(err)
	}
	for link.NumStreams() > 0 { // bounded by patience, as the link's end is
		says(t, visitor, 100)
	}
	if _, err := hop.Write([]byte("x")); err == nil {
		t.Error("the hop is still there")
	}
	link.Close()
	<-link.Done()
	says(t, visitor, 4*bulk)
	if err := visitor.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(visitor); err != nil {
		t.Error("the visitor's end:", err)
	}
}

// What is no node of the relay's, or refuses, leaves the visitor on its link, which may
// have a lane for it.
func TestVisitorThatCannotBeTakenStays(t *testing.T) {
	for name, c := range map[string]struct {
		node  string // in the offer
		dials bool
	}{
		"a node that the relay has not told of": {"c", false},
		"a node without an address":             {"d", false},
		"a public address of a private relay":   {"e", false},
		"a node that refuses":                   {"f", true},
		"a node that is broken":                 {"g", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, link := laned(t)
			a := newLanedNode(t, r.ca, c.node == "g")
			address := a.ln.Addr().String()
			r.tellOf(link, framing.Node{Name: "a", Address: address}, framing.Node{Name: "d"}, framing.Node{Name: "e", Address: "198.51.100.1:443"},
				framing.Node{Name: "f", Address: address}, framing.Node{Name: "g", Address: address})
			visitor, _ := a.visitor(link, c.node)
			if c.node == "f" {
				a.mu.Lock()
				clear(a.detours)
				a.mu.Unlock()
			}
			says(t, visitor, 2*bulk)
			within(t, r.wanted, "a lane to the node with the link")
			if dialed := len(a.dialed) > 0; dialed != c.dials {
				t.Errorf("the node was dialled: %v", dialed)
			}
			says(t, visitor, 100)
		})
	}
}

// A node to which lanes fail is left alone for a while, and others are not.
func TestNodeWhoseLanesFailIsLeftAlone(t *testing.T) {
	r, link := laned(t)
	bad, good := newLanedNode(t, r.ca, true), newLanedNode(t, r.ca, false)
	r.tellOf(link, framing.Node{Name: "bad", Address: bad.ln.Addr().String()}, framing.Node{Name: "good", Address: good.ln.Addr().String()})
	for range 4 {
		visitor, _ := bad.visitor(link, "bad")
		says(t, visitor, 2*bulk)
		within(t, r.wanted, "a lane to the node with the link")
	}
	if n := len(bad.dialed); n != 2 {
		t.Errorf("the node was dialled %d times, want 2", n)
	}
	visitor, _ := good.visitor(link, "good")
	says(t, visitor, 2*bulk)
	if err := within(t, good.served, "a lane"); err != nil {
		t.Error(err)
	}
}
