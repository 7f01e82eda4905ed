package relay_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/relay"
	"keystay/relay/limits"
)

// others are the other nodes of a relay, for tests: what is connected there, by name.
type others struct {
	mu    sync.Mutex
	has   map[string]relay.Claimed
	turns []string
}

func (o *others) set(c relay.Claimed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.has == nil {
		o.has = make(map[string]relay.Claimed)
	}
	o.has[c.Name] = c
}

func (o *others) Newest(name string) (relay.Claimed, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.has[name]
	return c, ok
}

func (o *others) Order(name string, run framing.Run, begins bool, may func() bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turns = append(o.turns, name)
	return begins && may()
}

func (o *others) Find(string, bool, []string) (relay.Place, bool) { return relay.Place{}, false }
func (o *others) Turn(string) (relay.Place, bool)                 { return relay.Place{}, false }
func (o *others) Miss(relay.Place, string)                        {}
func (o *others) Hop(context.Context, string, relay.Hop) (duplex.Conn, relay.Host, error) {
	return nil, relay.Host{}, relay.ErrNotThere
}

// A run whose name a newer run of the identity has on another node is told so, like on
// one node; the number decides, and then the id.
func TestClaimLosesAgainstANewerRunOnAnotherNode(t *testing.T) {
	nodes := &others{}
	r := newRig(t, func(s *relay.Server) { s.Nodes = nodes })
	id := newIdentity(t)
	nodes.set(claimed(id.at(5, 5), "a.relay.test", false))
	for _, loses := range []identity{id.at(4, 9), id.at(5, 4)} {
		denied(t, r.device(loses).Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedReplaced)
	}
	for _, wins := range []identity{id.at(5, 5), id.at(5, 6), id.at(6, 1)} {
		r.device(wins, "a.relay.test")
	}
	nodes.set(claimed(id.at(5, 5), "b.relay.test", true))
	if err := r.device(id.at(4, 1)).Claim(t.Context(), framing.Claim{Name: "b.relay.test", Replica: true}); err != nil {
		t.Errorf("a replica beside another: %v", err)
	}
}

// What another node has is decided alike on both, whatever was heard first: of two runs
// with one number the higher id stays.
func TestClaimedOnNodeDecidesAlikeOnAllNodes(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id.at(5, 5), "a.relay.test").echo("a")
	for _, older := range []identity{id.at(5, 5), id.at(5, 4), id.at(4, 9)} {
		if !r.srv.ClaimedOnNode(claimed(older, "a.relay.test", false)) {
			t.Error("not settled")
		}
	}
	r.reaches("a.relay.test", "a")
	r.srv.ClaimedOnNode(claimed(id.at(5, 6), "a.relay.test", false))
	d.expectLost(t, "a.relay.test", framing.DeniedReplaced)
}

// Of two identities the record says whose the name is. That the other node has heard of
// its claim first gives it nothing.
func TestClaimedOnNodeOfAnotherIdentityAsksTheRecord(t *testing.T) {
	r := newRig(t, nil)
	id, other := newIdentity(t), newIdentity(t)
	d := r.device(id, "a.relay.test", id.label()).echo("a")
	if r.srv.ClaimedOnNode(claimed(other, "a.relay.test", false)) {
		t.Error("settled, though the record may give the name away yet")
	}
	r.reaches("a.relay.test", "a")
	if r.srv.ClaimedOnNode(claimed(other, id.label(), false)) {
		t.Error("settled, though the record does not have the name")
	}
	r.reaches(id.label(), "a")
	d.keeps(t)
}

// Other nodes are told when the runs of a name change, and not of a second link.
func TestPresenceIsToldWhenRunsChange(t *testing.T) {
	told := make(chan string, 16)
	r := newRig(t, func(s *relay.Server) { s.OnPresence = func(name string) { told <- name } })
	wait := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Fatalf("told of %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("not told of %s", want)
		}
	}
	id := newIdentity(t)
	first := r.device(id.at(5, 5), "a.relay.test")
	wait("a.relay.test")
	at, ok := r.srv.Present("a.relay.test")
	if !ok || len(at.Runs) != 1 || at.Runs[0] != id.at(5, 5).run || at.Replica || !bytes.Equal(at.Key, claimed(id, "", false).Key) {
		t.Errorf("present: %+v, %v", at, ok)
	}
	second := r.device(id.at(5, 5), "a.relay.test")
	if err := second.Unclaim(t.Context(), "a.relay.test"); err != nil {
		t.Fatal(err)
	}
	second.Claim(t.Context(), framing.Claim{Name: "b.relay.test"})
	wait("b.relay.test") // nothing of the second link of a before
	first.Close()
	wait("a.relay.test")
	if _, ok := r.srv.Present("a.relay.test"); ok {
		t.Error("it is still there")
	}
	if names := r.srv.PresentNames(); len(names) != 1 || names[0] != "b.relay.test" {
		t.Errorf("present are %q", names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.srv.Shutdown(ctx)
	wait("b.relay.test")
	if _, ok := r.srv.Present("b.relay.test"); ok || r.srv.PresentNames() != nil {
		t.Error("a server that leaves has names for others")
	}
}

// The turn of a replica is decided among the nodes.
func TestOrderAsksTheNodes(t *testing.T) {
	nodes := &others{}
	r := newRig(t, func(s *relay.Server) { s.Nodes = nodes })
	d := r.device(newIdentity(t))
	if err := d.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Replica: true}); err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Order(t.Context(), "a.relay.test"); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, _ := d.Order(t.Context(), "b.relay.test"); ok {
		t.Error("a turn for a name that the link does not have")
	}
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	if len(nodes.turns) != 1 {
		t.Errorf("the nodes were asked for %q", nodes.turns)
	}
}

// The turns that remotes of one address begin, with keys made at will, leave some to a replica
// that comes from elsewhere.
func TestTurnsAreSharedByAddresses(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.Nodes = &others{}
		s.SetLimits(limits.Config{Exempt: nobody})
	})
	begin := func() bool {
		id := newIdentity(t)
		d := r.device(id)
		if err := d.Claim(t.Context(), framing.Claim{Name: id.label(), Replica: true}); err != nil {
			t.Fatal(err)
		}
		ok, err := d.Order(t.Context(), id.label())
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	r.from("127.0.1.1")
	began := 0
	for range 80 {
		if begin() {
			began++
		}
	}
	if began < 64 || began > 75 {
		t.Errorf("%d turns of one address began, want some 64", began)
	}
	if r.limited("address_turns") == 0 {
		t.Error("no limit was met")
	}
	if r.from("127.0.1.2"); !begin() {
		t.Error("no turn for a replica of another address")
	}
}
