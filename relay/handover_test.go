package relay_test

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// heirOf returns an identity with another key and the same run, and what hands the old
// one over to it.
func heirOf(t *testing.T, old identity) (identity, framing.Handovers) {
	heir := newIdentity(t)
	heir.run = old.run
	return heir, framing.Handovers{framing.NewHandover(old.key, heir.key)}
}

// claimBy makes a device claim names with hand-overs.
func (d *device) claimBy(t *testing.T, list framing.Handovers, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := d.Claim(t.Context(), framing.Claim{Name: name, Handovers: list}); err != nil {
			t.Fatal(err)
		}
	}
}

// A run that goes on with a new key has its names on both links, until it ends the old
// one: no visitor meets a gap, whichever name is claimed first.
func TestRunKeepsItsNamesWithANewKey(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	before := r.device(old, "a.relay.test", "b.relay.test").echo("dev")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	after := r.device(heir).echo("dev")
	after.claimBy(t, list, "a.relay.test")
	r.reaches("a.relay.test", "dev")
	r.reaches("b.relay.test", "dev") // which nobody has claimed with the new key
	after.claimBy(t, list, "b.relay.test")
	before.keeps(t)
	denied(t, before.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedTaken)
	if err := before.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
		t.Fatal(err)
	}
	r.reaches("a.relay.test", "dev")
	r.reaches("b.relay.test", "dev")
	before.keeps(t)
	after.keeps(t)
}

// Whoever has a copy of the old key loses each name with its claim by the heir, however
// high the number of that run is, and does not come back, nor with the key's own label.
func TestHandoverReplacesACopyOfTheOldKey(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	thief := r.device(old.at(1<<63, 66), "a.relay.test").echo("thief")
	after := r.device(heir).echo("heir")
	after.claimBy(t, list, "a.relay.test")
	thief.expectLost(t, "a.relay.test", framing.DeniedTaken)
	for range 8 {
		r.reaches("a.relay.test", "heir")
	}
	again := r.device(old.at(1<<63, 67))
	for _, name := range []string{"a.relay.test", "free.relay.test", old.label()} {
		denied(t, again.Claim(t.Context(), framing.Claim{Name: name}), framing.DeniedTaken)
	}
	thiefs, _ := heirOf(t, old)
	other := r.device(thiefs)
	denied(t, other.Claim(t.Context(), framing.Claim{Name: "a.relay.test",
		Handovers: framing.Handovers{framing.NewHandover(old.key, thiefs.key)}}), framing.DeniedTaken)
	after.keeps(t)
}

// Five minutes later nothing is left of the old key but links that only have visitors.
func TestRestOfARetiredIdentityIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		old := newIdentity(t)
		heir, list := heirOf(t, old)
		left := r.device(old.at(7, 7), "a.relay.test", "b.relay.test", old.label())
		drained := r.device(old.at(7, 7), "a.relay.test").echo("drained")
		for _, name := range []string{"b.relay.test", "a.relay.test"} { // the second goes to the link with fewer
			c := r.dial()
			defer c.Close()
			c.Write(helloFor(t, name))
			synctest.Wait()
		}
		if n := drained.NumStreams(); n != 1 {
			t.Errorf("the link that drains has %d visitors", n)
		}
		other := r.device(newIdentity(t), "c.relay.test")
		if err := drained.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
			t.Fatal(err)
		}
		after := r.device(heir)
		after.claimBy(t, list, "a.relay.test")
		left.expectLost(t, "a.relay.test", framing.DeniedTaken)
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		left.keeps(t)
		time.Sleep(2 * time.Second)
		<-left.Done()
		left.lost <- nil
		for l := range left.lost {
			if l == nil {
				break
			}
			if l.Code != framing.DeniedTaken {
				t.Errorf("lost %+v", l)
			}
		}
		after.keeps(t)
		other.keeps(t)
		drained.keeps(t)
		after.claimBy(t, nil, "b.relay.test")
	})
}

// A hand-over that not both keys have signed gives nothing, and ends nothing.
func TestHandoverThatDoesNotHoldIsDenied(t *testing.T) {
	r := newRig(t, nil)
	old, thief := newIdentity(t), newIdentity(t)
	r.device(old, "a.relay.test").echo("d")
	_, list := heirOf(t, old)
	by := r.device(thief.at(9, 9))
	denied(t, by.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Handovers: list}), framing.DeniedHandover)
	list = framing.Handovers{framing.NewHandover(thief.key, thief.key)}
	list[0].Old = old.key.Public().(ed25519.PublicKey)
	denied(t, by.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Handovers: list}), framing.DeniedHandover)
	r.reaches("a.relay.test", "d")
	if err := by.Claim(t.Context(), framing.Claim{Name: "b.relay.test"}); err != nil {
		t.Error(err)
	}
}

// A relay that starts anew knows what was handed over, and hears of it once more
// without harm; one that was away hears of two hand-overs at once.
func TestHandoverOutlivesTheRelay(t *testing.T) {
	r := newServer(t, nil)
	r.listen()
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	r.device(old, "a.relay.test")
	r.device(heir).claimBy(t, list, "a.relay.test")
	r.srv.Close()
	if err := r.srv.Names.Grants.(interface{ Close() error }).Close(); err != nil {
		t.Fatal(err)
	}

	again := newServer(t, nil)
	again.dir = r.dir
	again.srv.Names.Grants = openGrants(t, r.dir)
	again.listen()
	last, more := heirOf(t, heir)
	denied(t, again.device(old).Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedTaken)
	d := again.device(heir).echo("heir")
	d.claimBy(t, list, "a.relay.test")
	again.reaches("a.relay.test", "heir")
	e := again.device(last).echo("heir")
	e.claimBy(t, append(list, more...), "a.relay.test")
	denied(t, d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedTaken)
	again.reaches("a.relay.test", "heir")
}

// In a takeover the old process leaves what it serves of the same run alone, though
// its key is another one by now.
func TestClaimedElsewhereLeavesARunWithANewKey(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, _ := heirOf(t, old)
	d := r.device(old, "a.relay.test").echo("d")
	r.srv.ClaimedElsewhere(relay.Claimed{Name: "a.relay.test", Key: heir.key.Public().(ed25519.PublicKey), Run: heir.run})
	r.reaches("a.relay.test", "d")
	d.keeps(t)
}

// The signatures of hand-overs cost more than all else of a claim: a link may show a few
// different lists, and each as often as it likes.
func TestLinkShowsFewDifferentHandovers(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	by := r.device(id)
	var list framing.Handovers
	for range 8 {
		list = framing.Handovers{framing.NewHandover(newIdentity(t).key, id.key)}
		for range 3 {
			by.claimBy(t, list, "a.relay.test")
		}
	}
	denied(t, by.Claim(t.Context(), framing.Claim{Name: "a.relay.test",
		Handovers: framing.Handovers{framing.NewHandover(newIdentity(t).key, id.key)}}), framing.DeniedHandover)
	bad := framing.NewHandover(newIdentity(t).key, id.key)
	bad.NewSigned = bad.OldSigned
	other := r.device(id)
	for range 3 {
		denied(t, other.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Handovers: framing.Handovers{bad}}), framing.DeniedHandover)
	}
	by.claimBy(t, list, "b.relay.test")
	other.claimBy(t, list, "b.relay.test")
}

// Each key that hands over counts as a new name of the network that it comes from.
func TestEachKeyThatHandsOverCountsForItsNetwork(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{Names: limits.Rate{Count: 2, Per: 24 * time.Hour}}})
	})
	claim := func(ids ...identity) error {
		var list framing.Handovers
		for i, id := range ids[1:] {
			list = append(list, framing.NewHandover(ids[i].key, id.key))
		}
		last := ids[len(ids)-1]
		return r.device(last).Claim(t.Context(), framing.Claim{Name: last.label(), Handovers: list})
	}
	if err := claim(newIdentity(t), newIdentity(t), newIdentity(t)); err != nil {
		t.Fatal(err)
	}
	denied(t, claim(newIdentity(t), newIdentity(t)), framing.DeniedLimit)
}

// So it is where both are replicas: replicas stand beside each other under one key alone.
func TestHandoverReplacesAReplicaOfTheOldKey(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	replica := framing.Claim{Name: shared, Replica: true}
	thief, before, after := r.device(old.at(1<<63, 66)).echo("thief"), r.device(old).echo("heir"), r.device(heir).echo("heir")
	for _, d := range []*device{thief, before} {
		if err := d.Claim(t.Context(), replica); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := thief.Order(t.Context(), shared); !ok || err != nil {
		t.Fatalf("the only key has no turn: %v", err)
	}
	replica.Handovers = list
	if err := after.Claim(t.Context(), replica); err != nil {
		t.Fatal(err)
	}
	thief.expectLost(t, shared, framing.DeniedTaken)
	for range 8 {
		r.reaches(shared, "heir")
	}
	before.keeps(t) // the same run
	for _, d := range []*device{before, after} {
		if ok, err := d.Order(t.Context(), shared); !ok || err != nil {
			t.Errorf("the heir's run has no turn: %v", err)
		}
	}
}

// Of a name that the heir has still to claim, the old key gets no turn to order a certificate.
func TestRetiredKeyGetsNoTurn(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	thief := r.device(old.at(1<<63, 66), shared)
	r.device(heir).claimBy(t, list, "b.relay.test")
	if ok, err := thief.Order(t.Context(), shared); ok || err != nil {
		t.Errorf("it gets it: %v, %v", ok, err)
	}
}

// A run that another one with the same key has replaced gets its names with the new key,
// and so does each run that the first one with that key has replaced.
func TestHandoverBeatsTheNumberOfARun(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	owner := r.device(old, "a.relay.test").echo("owner")
	thief := r.device(old.at(1<<63, 66), "a.relay.test").echo("thief")
	owner.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.device(heir).echo("heir").claimBy(t, list, "a.relay.test")
	thief.expectLost(t, "a.relay.test", framing.DeniedTaken)
	for range 8 {
		r.reaches("a.relay.test", "heir")
	}
	r.device(heir.at(1<<63, 66)).echo("newer").claimBy(t, list, "a.relay.test")
	r.reaches("a.relay.test", "newer")
	denied(t, r.device(heir).Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedReplaced)
}

// A hand-over that the relay has taken before changes nothing: also where the key from before,
// as one that was stolen, is banned by now.
func TestBanOfAKeyThatHasHandedOverDeniesTheHeirNothing(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	r.device(old, "a.relay.test", "b.relay.test").Close()
	after := r.device(heir)
	after.claimBy(t, list, "a.relay.test")
	b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: old.identity(), Reason: "stolen"})
	if err != nil {
		t.Fatal(err)
	}
	r.srv.Cut(relay.CutOf(b))
	after.claimBy(t, list, "b.relay.test")
	last, more := heirOf(t, heir)
	r.device(last).claimBy(t, append(list, more...), "b.relay.test")
}
