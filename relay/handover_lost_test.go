package relay_test

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// A name that the operator takes back is lost on a link whose key has handed over, too, which
// serves it until the heir claims it, and is free for others at once.
func TestNameTakenBackIsLostByARetiredKey(t *testing.T) {
	for what, free := range map[string]bool{"it is kept": false, "it is free": true} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			old := newIdentity(t)
			heir, list := heirOf(t, old)
			before := r.device(old.at(1<<63, 66), "a.relay.test", "b.relay.test").echo("before")
			r.device(heir).echo("heir").claimBy(t, list, "a.relay.test")
			r.reaches("b.relay.test", "before")
			c := r.talking("b.relay.test")
			if _, err := r.srv.Names.Take("b.relay.test", "phishing", free); err != nil {
				t.Fatal(err)
			}
			broken(t, c)
			r.refused("b.relay.test", unrecognizedName)
			before.expectLost(t, "a.relay.test", framing.DeniedTaken) // by the heir
			before.expectLost(t, "b.relay.test", framing.DeniedTaken)
			other := r.device(newIdentity(t)).echo("other")
			err := other.Claim(t.Context(), framing.Claim{Name: "b.relay.test"})
			if !free {
				denied(t, err, framing.DeniedTaken)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.reaches("b.relay.test", "other")
			r.reaches("a.relay.test", "heir")
		})
	}
}

// So it is after several hand-overs, and on a link that the device keeps beside the one with
// the new key.
func TestNameTakenBackIsLostByAllLinksOfARun(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	last, more := heirOf(t, heir)
	all := []*device{r.device(old, "a.relay.test", "b.relay.test"), r.device(heir), r.device(last)}
	all[1].claimBy(t, list, "a.relay.test")
	all[2].claimBy(t, append(list, more...), "a.relay.test")
	if _, err := r.srv.Names.Take("a.relay.test", "phishing", true); err != nil {
		t.Fatal(err)
	}
	r.refused("a.relay.test", unrecognizedName)
	for _, d := range all {
		d.expectLost(t, "a.relay.test", framing.DeniedTaken)
		d.keeps(t)
	}
}

// A ban of an identity ends the links of those that have handed over to it; a ban of one of
// these ends none of the heir's.
func TestBanOfAnIdentityEndsTheLinksOfItsEarlierKeys(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	before := r.device(old, "a.relay.test", "b.relay.test").echo("before")
	after := r.device(heir).echo("after")
	after.claimBy(t, list, "a.relay.test")
	c := r.talking("b.relay.test")
	ban := func(id identity) relay.Severed {
		b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: id.identity(), Reason: "phishing"})
		if err != nil {
			t.Fatal(err)
		}
		return r.srv.Cut(relay.CutOf(b))
	}
	if n := ban(heir); n.Links != 2 || n.Names != 2 || n.Visitors != 1 {
		t.Errorf("severed: %+v", n)
	}
	broken(t, c)
	<-before.Done()
	<-after.Done()

	other := newIdentity(t)
	heir, list = heirOf(t, other)
	r.device(other, "c.relay.test")
	after = r.device(heir).echo("heir")
	after.claimBy(t, list, "c.relay.test")
	if n := ban(other); n.Links != 1 {
		t.Errorf("severed: %+v", n)
	}
	r.reaches("c.relay.test", "heir")
}

// So it is for the first of those that have handed over, however many they are.
func TestBanOfAnIdentityEndsTheLinksOfItsFirstKey(t *testing.T) {
	r := newRig(t, nil)
	first := newIdentity(t)
	before := r.device(first, "a.relay.test").echo("first")
	key, last := first.key.Public().(ed25519.PublicKey), first
	for range 100 {
		last = newIdentity(t)
		heir := last.key.Public().(ed25519.PublicKey)
		if _, err := r.srv.Names.HandOver(names.Claimant{Key: heir}, []ed25519.PublicKey{key}); err != nil {
			t.Fatal(err)
		}
		key = heir
	}
	c := r.talking("a.relay.test")
	b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: last.identity(), Reason: "phishing"})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.srv.Cut(relay.CutOf(b)); n.Links != 1 || n.Visitors != 1 {
		t.Fatalf("severed: %+v", n)
	}
	broken(t, c)
	<-before.Done()
}

// The operator who ends the links of an identity, which may dial again, ends its own alone.
func TestLinksOfAnIdentityAreThoseThatProveItsKey(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	before := r.device(old, "a.relay.test", "b.relay.test").echo("before")
	r.device(heir).claimBy(t, list, "a.relay.test")
	if n := r.srv.Cut(relay.Cut{Identity: heir.identity()}); n.Links != 1 {
		t.Errorf("severed: %+v", n)
	}
	r.reaches("b.relay.test", "before")
	before.keeps(t)
}

// A domain that DNS gives to another device is that one's at once, also where the device that
// had it has another key by now and has not claimed it with that yet.
func TestDomainThatAnHeirHasNotClaimedGoesToAnotherDevice(t *testing.T) {
	var dns domainRecord
	r := newRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	dns.name(old)
	before := r.device(old, customDomain).echo("before")
	r.device(heir).claimBy(t, list, "a.relay.test")
	c := r.talking(customDomain)
	next := newIdentity(t)
	dns.name(next)
	d := r.device(next).echo("next")
	if err := d.Claim(t.Context(), framing.Claim{Name: customDomain}); err != nil {
		t.Fatal(err)
	}
	broken(t, c)
	before.expectLost(t, customDomain, framing.DeniedUnproven)
	r.reaches(customDomain, "next")
}

// Visitors that a device has on a link from before, which serves its names no more, end with
// the name: where the link has said that it goes away, and where a newer run or the heir has
// replaced it.
func TestVisitorsOfALinkFromBeforeEndWithTheName(t *testing.T) {
	levers := map[string]func(r *rig, heir identity) error{
		"a ban of the device": func(r *rig, heir identity) error {
			b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: heir.identity(), Reason: "phishing"})
			r.srv.Cut(relay.CutOf(b))
			return err
		},
		"the name taken back": func(r *rig, _ identity) error {
			_, err := r.srv.Names.Take("a.relay.test", "phishing", true)
			return err
		},
	}
	links := map[string]func(t *testing.T, before *device, r *rig, heir identity, list framing.Handovers){
		"goes away": func(t *testing.T, before *device, r *rig, heir identity, list framing.Handovers) {
			r.device(heir).claimBy(t, list, "a.relay.test")
			if err := before.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
				t.Fatal(err)
			}
		},
		"goes away before": func(t *testing.T, before *device, r *rig, heir identity, list framing.Handovers) {
			if err := before.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
				t.Fatal(err)
			}
			r.device(heir).claimBy(t, list, "a.relay.test")
		},
		"is replaced": func(t *testing.T, _ *device, r *rig, heir identity, list framing.Handovers) {
			r.device(heir.at(9, 9)).claimBy(t, list, "a.relay.test")
		},
		"is replaced before": func(t *testing.T, _ *device, r *rig, heir identity, list framing.Handovers) {
			r.device(heir.at(9, 9)).claimBy(t, list, "a.relay.test")
			r.device(heir.at(10, 10)).claimBy(t, list, "a.relay.test")
		},
	}
	for what, lever := range levers {
		for how, leave := range links {
			t.Run("the link "+how+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := memRig(t, nil)
					old := newIdentity(t)
					heir, list := heirOf(t, old)
					before := r.device(old, "a.relay.test", "b.relay.test").echo("before")
					c := r.talking("a.relay.test")
					leave(t, before, r, heir, list)
					synctest.Wait()
					began := time.Now()
					if err := lever(r, heir); err != nil {
						t.Fatal(err)
					}
					broken(t, c)
					if took := time.Since(began); took > time.Second {
						t.Errorf("the visitor is cut after %v", took)
					}
					r.close()
				})
			})
		}
	}
}

// A run that a newer one of its device has replaced, and that has visitors yet, loses them
// with the name.
func TestVisitorsOfAReplacedRunEndWithTheName(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	before := r.device(id, "a.relay.test", "b.relay.test").echo("before")
	c, other := r.talking("a.relay.test"), r.talking("b.relay.test")
	r.device(id.at(9, 9), "a.relay.test")
	before.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	if _, err := r.srv.Names.Take("a.relay.test", "phishing", true); err != nil {
		t.Fatal(err)
	}
	broken(t, c)
	goesOn(t, other)
}

// A name that the operator takes back ends what is passed on for it to a sibling, also by the
// word of the device's earlier key; and so does a ban of the device.
func TestNameTakenBackEndsWhatIsPassedOnByAnEarlierKey(t *testing.T) {
	for what, lever := range map[string]func(a *rig, heir identity) error{
		"the name taken back": func(a *rig, _ identity) error {
			_, err := a.srv.Names.Take(shared, "", true)
			return err
		},
		"a ban of the device": func(a *rig, heir identity) error {
			made, err := a.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: heir.identity()})
			a.srv.Cut(cutOf(made))
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			a, b, old := twoRelays(t)
			heir, list := heirOf(t, old)
			a.gone(a.named(old, zone))
			b.named(old, zone).echo("b")
			hello := helloFor(t, shared)
			c := a.dial()
			c.Write(hello)
			says(t, c, "b:"+string(hello))
			a.device(heir).claimBy(t, list, "b.relay.test") // the record gives the shared name to the heir, too
			if err := lever(a, heir); err != nil {
				t.Fatal(err)
			}
			closed(t, c)
		})
	}
}

// A name that a device gives back is served no more on its links from before, however many keys
// lie between and whichever of them has claimed it.
func TestNameGivenBackIsLostByAllEarlierKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		first := newIdentity(t)
		before := r.device(first, "a.relay.test", "b.relay.test").echo("first")
		last, list := first, framing.Handovers(nil)
		var d *device
		for range 3 {
			next, more := heirOf(t, last)
			last, list = next, append(list, more...)
			d = r.device(last)
			d.claimBy(t, list, "a.relay.test")
		}
		r.reaches("b.relay.test", "first")
		if err := d.Release(t.Context(), "b.relay.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.refused("b.relay.test", unrecognizedName)
		before.expectLost(t, "b.relay.test", framing.DeniedReleased)
		before.keeps(t)
		r.close()
	})
}

// A relay whose record is closed, as that of an old process, cuts on links of earlier keys what
// it is told that these have handed over.
func TestCutNamesEarlierKeysWithoutTheRecord(t *testing.T) {
	r := newRig(t, nil)
	old, heir, other := newIdentity(t), newIdentity(t), newIdentity(t)
	before := r.device(old, "a.relay.test", "b.relay.test")
	beside := r.device(other, "c.relay.test")
	if err := r.srv.Names.Grants.(*names.Grants).Close(); err != nil {
		t.Fatal(err)
	}
	cut := func(c relay.Cut) relay.Severed {
		c.Identity, c.Earlier = heir.identity(), []string{old.identity()}
		return r.srv.Cut(c)
	}
	if n := cut(relay.Cut{}); n != (relay.Severed{}) { // a kick
		t.Errorf("severed: %+v", n)
	}
	why := names.Denied{Code: names.DeniedTaken, Text: "phishing"}
	if n := cut(relay.Cut{Name: "b.relay.test", Why: why}); n.Names != 1 || n.Links != 0 {
		t.Errorf("severed: %+v", n)
	}
	before.expectLost(t, "b.relay.test", framing.DeniedTaken)
	before.keeps(t)
	if n := cut(relay.Cut{Why: why}); n.Links != 1 {
		t.Errorf("severed: %+v", n)
	}
	<-before.Done()
	beside.keeps(t)
}
