package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// tellNodes has each node tell its remotes of all of them.
func (r *hopRig) tellNodes() {
	r.t.Helper()
	var list []framing.Node
	for _, n := range r.nodes {
		list = append(list, framing.Node{Name: n.name, Address: n.public, Weight: 100})
	}
	for _, n := range r.nodes {
		if err := n.srv.SetNodes(framing.Nodes{Own: n.name, List: list}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// take has the device take the visitor of s from this node.
func (n *hopNode) take(s *framing.Stream) error {
	n.t.Helper()
	c, err := net.Dial("tcp", n.public)
	if err != nil {
		n.t.Fatal(err)
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: c}, &tls.Config{RootCAs: n.ca.Pool(), ServerName: zone, NextProtos: []string{framing.LaneProtocol}})
	if err := tc.Handshake(); err != nil {
		c.Close()
		return err
	}
	_, err = s.Take(n.t.Context(), tc)
	return err
}

// A takenRig has two nodes: visitors come to a, and their device has a link at b.
type takenRig struct {
	*hopRig
	a, b    *hopNode
	device  *hopDevice
	name    string // of the device
	streams chan *framing.Stream
}

func newTakenRig(t *testing.T, set func(*hopNode), claim framing.Claim) *takenRig {
	t.Helper()
	r := &takenRig{hopRig: newHopRig(t, 2, set), streams: make(chan *framing.Stream, 10)}
	r.a, r.b = r.nodes[0], r.nodes[1]
	r.tellNodes()
	r.device = r.b.device(func(s *framing.Stream) { r.streams <- s }, claim)
	if r.name = claim.Name; r.name == "" {
		r.name = r.device.label()
	}
	return r
}

// visitor brings a visitor to node a, and from there to the device.
func (r *takenRig) visitor() (*net.TCPConn, *framing.Stream) {
	r.t.Helper()
	c := r.a.visit()
	hello := clientHello(r.t, r.name)
	c.Write(hello)
	s := <-r.streams
	expect(r.t, s, string(hello))
	talks(r.t, c, s) // node a has heard that node b has it
	return c, s
}

// key is the device's.
func (r *takenRig) key() ed25519.PublicKey { return r.device.key.Public().(ed25519.PublicKey) }

// bans has the record say, at node a, that somebody is banned.
func (r *takenRig) bans(kind names.BanKind, of string) {
	r.t.Helper()
	b, err := r.a.srv.Names.Ban(names.Ban{Kind: kind, Of: of})
	if err != nil {
		r.t.Error(err)
	}
	r.a.srv.Names.OnBans([]names.Ban{b})
}

// givesAway has the record give the device's name to another identity, at node a.
func (r *takenRig) givesAway() ed25519.PublicKey {
	r.t.Helper()
	other, _, err := ed25519.GenerateKey(nil)
	if err == nil {
		_, err = r.a.srv.Names.Claim(r.t.Context(), names.Claimant{Name: r.name, Key: other})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return other
}

// talks checks that bytes go both ways.
func talks(t *testing.T, c *net.TCPConn, s *framing.Stream) {
	t.Helper()
	for _, text := range []string{"to and", "fro"} {
		io.WriteString(c, text)
		expect(t, s, text)
		io.WriteString(s, text)
		expect(t, c, text)
	}
}

// Once a device has taken a visitor from its node, the other node has no part in it: it
// has no stream and no visitor any more, and may die. No byte is lost on the way.
func TestTakenVisitorNeedsNoOtherNode(t *testing.T) {
	r := newTakenRig(t, nil, framing.Claim{})
	c, s := r.visitor()
	all := make([]byte, 6<<20)
	rand.NewChaCha8([32]byte{}).Read(all)
	half := len(all) / 2
	sent := make(chan error, 2)
	for _, w := range []interface {
		io.Writer
		CloseWrite() error
	}{c, s} {
		go func() {
			_, err := w.Write(all[:half])
			sent <- err
		}()
	}
	up, down := make([]byte, len(all)), make([]byte, len(all))
	read := make(chan error, 2)
	go func() { _, err := io.ReadFull(s, up[:half]); read <- err }()
	if _, err := io.ReadFull(c, down[:1<<20]); err != nil {
		t.Fatal(err)
	}
	if err := r.a.take(s); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := io.ReadFull(c, down[1<<20:half]); read <- err }()
	if err := errors.Join(<-read, <-read, <-sent, <-sent); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hop is gone", func() bool { return r.b.srv.Visitors() == 0 })
	r.a.shows(t, `keystay_visitors_by_carrier{carrier="lane"} 1`, `keystay_visitors_by_carrier{carrier="hop"} 0`, `keystay_hops{direction="out"} 0`, "keystay_visitors 1")
	// What node b sent last may still be on its way when b has nothing of the visitor left.
	eventually(t, "both directions are on the lane", func() bool {
		read, write := s.Carrier()
		return read != nil && write != nil
	})
	r.b.srv.Close()
	<-r.device.Done()
	for _, w := range []interface {
		io.Writer
		CloseWrite() error
	}{c, s} {
		go func() {
			_, err := w.Write(all[half:])
			sent <- errors.Join(err, w.CloseWrite())
		}()
	}
	go func() { _, err := io.ReadFull(s, up[half:]); read <- err }()
	go func() { _, err := io.ReadFull(c, down[half:]); read <- err }()
	if err := errors.Join(<-read, <-read, <-sent, <-sent); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(up, all) || !bytes.Equal(down, all) {
		t.Error("what came is not what was sent")
	}
	for name, end := range map[string]io.Reader{"visitor": c, "device": s} {
		if b, err := io.ReadAll(end); err != nil || len(b) > 0 {
			t.Errorf("the %s's end: %d bytes, %v", name, len(b), err)
		}
	}
	s.Close()
	eventually(t, "the visitor is gone", func() bool { return r.a.srv.Visitors() == 0 })
}

// A visitor that was taken is cut at its node where it would be cut on a link's own lane,
// and by nothing else.
func TestTakenVisitorIsCutAtItsNode(t *testing.T) {
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	claimed := func(r *takenRig, number uint64, replica bool) relay.Claimed {
		return relay.Claimed{Name: r.device.label(), Key: r.device.key.Public().(ed25519.PublicKey), Run: framing.Run{Number: number, ID: [16]byte{9}}, Replica: replica}
	}
	banned := names.Denied{Code: names.DeniedBanned}
	for name, c := range map[string]struct {
		claim framing.Claim
		do    func(r *takenRig)
		stays bool
	}{
		"its identity is banned": {do: func(r *takenRig) {
			r.a.srv.Cut(relay.Cut{Identity: keyname.Label(r.device.key.Public().(ed25519.PublicKey), ""), Why: banned})
		}},
		"another identity is banned": {stays: true, do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Identity: keyname.Label(other, ""), Why: banned}) }},
		"its name is banned":         {do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Name: r.device.label(), Why: banned}) }},
		"a name above is banned":     {do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Name: zone, Why: banned}) }},
		"another name is banned":     {stays: true, do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Name: "other." + zone, Why: banned}) }},
		"its device's address is banned": {do: func(r *takenRig) {
			r.a.srv.Cut(relay.Cut{Addresses: netip.MustParsePrefix("127.0.0.1/32"), Why: banned})
		}},
		"a newer run is on another node":             {do: func(r *takenRig) { r.a.srv.ClaimedOnNode(claimed(r, 2, false)) }},
		"an older run is on another node":            {stays: true, do: func(r *takenRig) { r.a.srv.ClaimedOnNode(claimed(r, 0, false)) }},
		"a newer run is here":                        {do: func(r *takenRig) { r.a.deviceRun(r.device.key, framing.Run{Number: 2}, nil, framing.Claim{}) }},
		"another replica is on another node":         {claim: framing.Claim{Replica: true}, stays: true, do: func(r *takenRig) { r.a.srv.ClaimedOnNode(claimed(r, 2, true)) }},
		"a run that is no replica is on another one": {claim: framing.Claim{Replica: true}, do: func(r *takenRig) { r.a.srv.ClaimedOnNode(claimed(r, 2, false)) }},
		"another link of its run is here": {stays: true, do: func(r *takenRig) {
			r.a.deviceRun(r.device.key, framing.Run{Number: 1, ID: [16]byte{1}}, nil, framing.Claim{})
		}},
		"its link is lost": {stays: true, do: func(r *takenRig) { r.device.Close() }},
		// What another node has changed in the record, which may not reach this one otherwise:
		"the record bans its identity":        {do: func(r *takenRig) { r.bans(names.BanIdentity, keyname.Label(r.key(), "")) }},
		"the record bans its name":            {do: func(r *takenRig) { r.bans(names.BanName, r.name) }},
		"the record bans another identity":    {stays: true, do: func(r *takenRig) { r.bans(names.BanIdentity, keyname.Label(other, "")) }},
		"the record gives its name away":      {claim: framing.Claim{Name: "x." + zone}, do: func(r *takenRig) { r.a.srv.Names.OnMoved(r.name, r.givesAway()) }},
		"the record may give any name away":   {claim: framing.Claim{Name: "x." + zone}, do: func(r *takenRig) { r.givesAway(); r.a.srv.Names.OnMoved("", nil) }},
		"the record gives another name away":  {claim: framing.Claim{Name: "x." + zone}, stays: true, do: func(r *takenRig) { r.a.srv.Names.OnMoved("y."+zone, other) }},
		"the record says nothing of its name": {claim: framing.Claim{Name: "x." + zone}, stays: true, do: func(r *takenRig) { r.a.srv.Names.OnMoved("", nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTakenRig(t, nil, c.claim)
			visitor, s := r.visitor()
			if err := r.a.take(s); err != nil {
				t.Fatal(err)
			}
			talks(t, visitor, s)
			eventually(t, "the hop is gone", func() bool { return r.b.srv.Visitors() == 0 })
			c.do(r)
			if c.stays {
				talks(t, visitor, s)
				return
			}
			if _, err := io.Copy(io.Discard, struct{ io.Reader }{s}); !wasReset(err) {
				t.Errorf("the device sees %v", err)
			}
			if _, err := io.Copy(io.Discard, visitor); !wasReset(err) {
				t.Errorf("the visitor sees %v", err)
			}
		})
	}
}

// A token is worth nothing once its device is cut, or a newer run has the name: the node
// with the link may hear of it a moment later, and a taken visitor would stay.
func TestNoVisitorIsTakenAfterACut(t *testing.T) {
	banned := names.Denied{Code: names.DeniedBanned}
	for name, c := range map[string]struct {
		claim framing.Claim
		do    func(r *takenRig)
		stays bool
	}{
		"its identity is cut": {do: func(r *takenRig) {
			r.a.srv.Cut(relay.Cut{Identity: keyname.Label(r.device.key.Public().(ed25519.PublicKey), ""), Why: banned})
		}},
		"its name is cut":     {do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Name: r.device.label(), Why: banned}) }},
		"another name is cut": {stays: true, do: func(r *takenRig) { r.a.srv.Cut(relay.Cut{Name: "other." + zone, Why: banned}) }},
		// What has changed before there was a token, while the device took the hello:
		"the record has given its name away": {claim: framing.Claim{Name: "x." + zone}, do: func(r *takenRig) { r.givesAway() }},
		"a newer run has come up on another node": {do: func(r *takenRig) {
			r.a.mu.Lock()
			defer r.a.mu.Unlock()
			r.a.newest = relay.Claimed{Name: r.name, Key: r.key(), Run: framing.Run{Number: 2}}
		}},
		"its own run has come up on another node": {stays: true, do: func(r *takenRig) {
			r.a.mu.Lock()
			defer r.a.mu.Unlock()
			r.a.newest = relay.Claimed{Name: r.name, Key: r.key(), Run: framing.Run{Number: 1, ID: [16]byte{1}}}
		}},
		"a newer run is on another node": {do: func(r *takenRig) {
			r.a.srv.ClaimedOnNode(relay.Claimed{Name: r.device.label(), Key: r.device.key.Public().(ed25519.PublicKey), Run: framing.Run{Number: 2}})
		}},
		"its device's address is banned": {do: func(r *takenRig) {
			if _, err := r.a.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "127.0.0.1"}); err != nil {
				r.t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTakenRig(t, nil, c.claim)
			visitor, s := r.visitor()
			c.do(r)
			switch err := r.a.take(s); {
			case c.stays && err != nil:
				t.Error(err)
			case !c.stays && !errors.Is(err, framing.ErrNotTaken):
				t.Errorf("taken: %v", err)
			}
			talks(t, visitor, s) // the node with the link has not heard
		})
	}
}

// The visitor's node counts a taken visitor for its name and its identity, as the node
// with the link has before. Where that is too many the visitor stays on its hop.
func TestTakenVisitorCountsForItsName(t *testing.T) {
	r := newTakenRig(t, nil, framing.Claim{})
	r.a.srv.SetLimits(limits.Config{Exempt: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Name: limits.Owner{Streams: 1}})
	first, s1 := r.visitor()
	second, s2 := r.visitor()
	if err := r.a.take(s1); err != nil {
		t.Fatal(err)
	}
	if err := r.a.take(s2); !errors.Is(err, framing.ErrNotTaken) {
		t.Errorf("the second: %v", err)
	}
	talks(t, first, s1)
	talks(t, second, s2)
	first.CloseWrite()
	s1.Close()
	eventually(t, "the first is gone", func() bool { return r.a.srv.Visitors() == 1 })
	third, s3 := r.visitor()
	if err := r.a.take(s3); err != nil {
		t.Errorf("the third: %v", err)
	}
	talks(t, third, s3)
}

// A node that leaves takes no lane any more, which would reach the process that follows.
// Visitors that were taken stay, and are waited for.
func TestNodeThatLeavesGivesNoVisitorAway(t *testing.T) {
	r := newTakenRig(t, nil, framing.Claim{})
	first, s1 := r.visitor()
	second, s2 := r.visitor()
	if err := r.a.take(s1); err != nil {
		t.Fatal(err)
	}
	r.a.device(nil, framing.Claim{}) // whose name it has as long as it does not leave
	left := make(chan error, 1)
	relayed, err := net.Dial("tcp", r.a.public) // that is accepted before
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: relayed}, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.LaneProtocol}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	go func() { left <- r.a.srv.Shutdown(t.Context()) }()
	eventually(t, "it leaves", func() bool { return len(r.a.srv.PresentNames()) == 0 })
	if _, err := s2.Take(t.Context(), tc); err == nil {
		t.Error("the second was taken")
	}
	talks(t, first, s1)
	talks(t, second, s2)
	for _, s := range []*framing.Stream{s1, s2} {
		s.Close()
	}
	first.Close()
	second.Close()
	select {
	case err := <-left:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it has not left")
	}
}

// No lane is offered where none is taken: by a node without lanes, and by one that
// remotes are not told of.
func TestNoLaneIsOfferedInVain(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*hopNode)
		told bool
	}{
		"without lanes": {func(n *hopNode) { n.srv.NoLanes = n.name == "a" }, true},
		"not told of":   {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHopRig(t, 2, c.set)
			if c.told {
				r.tellNodes()
			}
			headers := make(chan framing.Header, 1)
			d := r.nodes[1].device(func(s *framing.Stream) { headers <- s.Header() }, framing.Claim{})
			v := r.nodes[0].visit()
			v.Write(clientHello(t, d.label()))
			if h := <-headers; h.Lane != (framing.LaneOffer{}) {
				t.Errorf("the offer is of node %q", h.Lane.Node)
			}
		})
	}
}
