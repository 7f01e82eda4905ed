package relay_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/relay"
	"keystay/relay/names"
)

// A sharedFile is a record that another node has, too.
type sharedFile struct {
	*names.Grants
	tell  func(names.Table, []byte)
	fresh func() // called once, by Fresh; nil where nothing was written
	away  error  // why nothing can be heard
}

func (s *sharedFile) Elsewhere(f func(names.Table, []byte)) { s.tell = f }
func (s *sharedFile) Whole() error                          { return cmp.Or(s.away, s.Grants.Whole()) }
func (s *sharedFile) Fresh(context.Context) error {
	if f := s.fresh; f != nil {
		s.fresh = nil
		f()
	}
	return s.away
}

// sharedRig returns a relay, what it is told of the other nodes' changes by, and the
// policy of another node.
func sharedRig(t *testing.T, set ...func(*relay.Server)) (r *rig, shared *sharedFile, other *names.Names) {
	r = memRig(t, func(s *relay.Server) {
		shared = &sharedFile{Grants: s.Names.Grants.(*names.Grants)}
		s.Names.Grants = shared
		for _, f := range set {
			f(s)
		}
	})
	other = &names.Names{Grants: shared.Grants}
	other.Begin(zone)
	return r, shared, other
}

// A ban that was made on another node cuts those who are connected here, and nobody else.
func TestBanOfAnotherNodeCutsHere(t *testing.T) {
	for name, ban := range map[string]func(identity) names.Ban{
		"a name":      func(identity) names.Ban { return names.Ban{Kind: names.BanName, Of: "a.relay.test"} },
		"an identity": func(id identity) names.Ban { return names.Ban{Kind: names.BanIdentity, Of: id.identity()} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, other := sharedRig(t)
				id := newIdentity(t)
				d := r.device(id, "a.relay.test").echo("d")
				r.device(newIdentity(t), "b.relay.test").echo("b")
				a, b := r.talking("a.relay.test"), r.talking("b.relay.test")
				if _, err := other.Ban(ban(id)); err != nil {
					t.Fatal(err)
				}
				broken(t, a)
				if l := <-d.lost; l.Code != framing.DeniedBanned {
					t.Errorf("the remote was told %+v", l)
				}
				goesOn(t, b)
			})
		})
	}
}

// A name that another node has taken from its identity is lost here, too; so it is when
// the node only hears that anything may have changed. Names that are the identity's still
// stay, and those made from its key.
func TestNameThatIsTakenOnAnotherNodeIsLostHere(t *testing.T) {
	for name, key := range map[string][]byte{"the name": []byte("a.relay.test"), "anything": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, shared, other := sharedRig(t)
				id := newIdentity(t)
				made := id.label()
				d := r.device(id, "a.relay.test", "b.relay.test", made).echo("d")
				a, b, m := r.talking("a.relay.test"), r.talking("b.relay.test"), r.talking(made)
				if _, err := other.Take("a.relay.test", "", true); err != nil {
					t.Fatal(err)
				}
				if _, err := other.Claim(t.Context(), names.Claimant{Name: "a.relay.test", Key: newIdentity(t).key.Public().(ed25519.PublicKey)}); err != nil {
					t.Fatal(err)
				}
				shared.tell("grants", key)
				broken(t, a)
				if l := <-d.lost; l.Code != framing.DeniedTaken || l.Name != "a.relay.test" {
					t.Errorf("the remote was told %+v", l)
				}
				goesOn(t, b)
				goesOn(t, m)
			})
		})
	}
}

// A node that does not hear of the record may still have a name for an identity that has
// lost it. Nobody hops there, nor does a CA's validation: the record decides, and not the
// run that says to be the newest.
func TestNobodyHopsToAnIdentityThatTheRecordDoesNotGiveTheNameTo(t *testing.T) {
	const name = "a.relay.test"
	for what, c := range map[string]struct {
		owner, banned bool // the record gives the name to the one at c; it bans the one at b
		handed        bool // the one at b has handed over to the one at c
		nodes         []string
		want          string
		asked         []string
	}{
		"another node has its owner":      {owner: true, nodes: []string{"b", "c"}, want: "c:", asked: []string{"c"}},
		"no node has its owner":           {owner: true, nodes: []string{"b"}, want: internalError},
		"the record says nothing":         {nodes: []string{"b", "c"}, want: "b:", asked: []string{"b"}},
		"it bans the one that has it":     {banned: true, nodes: []string{"b", "c"}, want: "c:", asked: []string{"c"}},
		"it has handed over to its owner": {handed: true, nodes: []string{"b"}, want: "b:", asked: []string{"b"}},
		"a CA asks, at the owner's node":  {owner: true, nodes: []string{"c"}, want: "c:", asked: []string{"c"}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &places{answer: func(_ context.Context, node string, _ relay.Hop) (duplex.Conn, error) { return takes(t, node) }}
				r := memRig(t, func(s *relay.Server) { s.Nodes = p })
				synctest.Wait() // until it serves
				stranger, owner := newIdentity(t), newIdentity(t)
				at := map[string]relay.Place{"b": {Node: "b", Key: keyOf(stranger)}, "c": {Node: "c", Key: keyOf(owner)}}
				if c.owner {
					if _, err := r.srv.Names.Claim(t.Context(), names.Claimant{Name: name, Key: owner.key.Public().(ed25519.PublicKey)}); err != nil {
						t.Fatal(err)
					}
				}
				if c.handed {
					before := stranger.key.Public().(ed25519.PublicKey)
					if _, err := r.srv.Names.Claim(t.Context(), names.Claimant{Name: name, Key: before}); err != nil {
						t.Fatal(err)
					}
					if _, err := r.srv.Names.HandOver(names.Claimant{Key: owner.key.Public().(ed25519.PublicKey)}, []ed25519.PublicKey{before}); err != nil {
						t.Fatal(err)
					}
				}
				if c.banned {
					if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: stranger.identity()}); err != nil {
						t.Fatal(err)
					}
				}
				p.at = make(map[string][]relay.Place)
				for _, node := range c.nodes {
					p.at[name] = append(p.at[name], at[node])
				}
				p.turn = map[string]relay.Place{name: at["b"]} // which counts for a CA alone
				if what == "a CA asks, at the owner's node" {
					v := r.dial()
					v.Write(validationFor(t, name))
					says(t, v, c.want)
					v.Close()
				} else if got, err := r.visit(name, ""); err != nil || got != c.want {
					t.Errorf("got %q, %v; want %q", got, err, c.want)
				}
				p.were(t, c.asked...)
				r.close()
			})
		})
	}
}

// A visitor who comes before this node has heard of a name's new owner waits for that.
func TestVisitorWaitsForTheRecordToSayWhoseANameIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		p := &places{answer: func(_ context.Context, node string, _ relay.Hop) (duplex.Conn, error) { return takes(t, node) }}
		var shared *sharedFile
		r := memRig(t, func(s *relay.Server) {
			s.Nodes = p
			shared = &sharedFile{Grants: s.Names.Grants.(*names.Grants)}
			s.Names.Grants = shared
		})
		synctest.Wait() // until it serves
		before, owner := newIdentity(t), newIdentity(t)
		if _, err := r.srv.Names.Claim(t.Context(), names.Claimant{Name: name, Key: before.key.Public().(ed25519.PublicKey)}); err != nil {
			t.Fatal(err)
		}
		p.at = map[string][]relay.Place{name: {{Node: "b", Key: keyOf(owner)}}}
		v := r.dial()
		v.Write(helloFor(t, name))
		synctest.Wait()
		other := &names.Names{Grants: shared.Grants}
		other.Begin(zone)
		if _, err := other.Take(name, "", true); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Claim(t.Context(), names.Claimant{Name: name, Key: owner.key.Public().(ed25519.PublicKey)}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", []byte(name))
		says(t, v, "b:")
		v.Close()
		r.close()
	})
}

// keyOf is an identity's key as a place has it.
func keyOf(id identity) [ed25519.PublicKeySize]byte {
	return [ed25519.PublicKeySize]byte(id.key.Public().(ed25519.PublicKey))
}

// An identity that has handed over on another node serves here until its heir does, as it
// would on one node: no visitor is cut. Then its links end, with the name made from its
// key, also where the node hears only that anything may have changed.
func TestHandOverOnAnotherNodeCutsNobodyAndRetiresTheKeyHere(t *testing.T) {
	for what, tellsKey := range map[string]bool{"the key": true, "anything": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const name = "a.relay.test"
				r, shared, other := sharedRig(t)
				id, heir := newIdentity(t), newIdentity(t).at(2, 2)
				before := r.device(id, name, id.label()).echo("before")
				v := r.talking(name)
				key := id.key.Public().(ed25519.PublicKey)
				if _, err := other.HandOver(names.Claimant{Key: heir.key.Public().(ed25519.PublicKey)}, []ed25519.PublicKey{key}); err != nil {
					t.Fatal(err)
				}
				if tellsKey {
					shared.tell("grants", []byte(name))
					shared.tell("retired", key)
				} else {
					shared.tell("grants", nil)
					shared.tell("retired", nil)
				}
				synctest.Wait()
				goesOn(t, v)
				r.reaches(name, "before")
				r.device(heir, name).echo("heir")
				r.reaches(name, "heir")
				before.expectLost(t, name, framing.DeniedTaken)
				v.Close()
				time.Sleep(6 * time.Minute)
				synctest.Wait()
				if before.Err() == nil {
					t.Error("the link of the identity that has handed over is up")
				}
				r.close()
			})
		})
	}
}

// Other nodes are not told that an identity which has handed over is its heir: its run may be
// the newer one, as of whoever has stolen its key, and would take the name from the heir there.
// An heir that came up on another node before this one heard of the hand-over has the name once
// it has, whichever run is the newer.
func TestIdentityThatHasHandedOverIsNotToldAsItsHeir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, shared, other := sharedRig(t)
		id, heir := newIdentity(t).at(99, 9), newIdentity(t).at(2, 2)
		before := r.device(id, name).echo("before")
		key, heirKey := id.key.Public().(ed25519.PublicKey), heir.key.Public().(ed25519.PublicKey)
		elsewhere := relay.Claimed{Name: name, Key: heirKey, Run: heir.run}
		if r.srv.ClaimedOnNode(elsewhere) {
			t.Error("settled, though the record does not have the hand-over yet")
		}
		if _, err := other.HandOver(names.Claimant{Key: heirKey}, []ed25519.PublicKey{key}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", []byte(name))
		shared.tell("retired", key)
		synctest.Wait()
		r.reaches(name, "before")
		if at, ok := r.srv.Present(name); !ok || !at.Key.Equal(key) || len(at.Runs) != 1 || at.Runs[0] != id.run {
			t.Errorf("other nodes are told %+v, %v", at, ok)
		}
		if !r.srv.ClaimedOnNode(elsewhere) {
			t.Error("not settled, though the record has the hand-over")
		}
		before.expectLost(t, name, framing.DeniedTaken) // so that the remote looks for another key
		if at, ok := r.srv.Present(name); ok {
			t.Errorf("other nodes are told %+v", at)
		}
		r.close()
	})
}

// Nor is a visitor left with an identity that has handed over where another one than its
// heir has the name.
func TestHandOverGivesANameToNobodyButTheHeir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, shared, other := sharedRig(t)
		id, heir, last := newIdentity(t), newIdentity(t), newIdentity(t)
		d := r.device(id, name).echo("d")
		v := r.talking(name)
		public := func(id identity) ed25519.PublicKey { return id.key.Public().(ed25519.PublicKey) }
		if _, err := other.HandOver(names.Claimant{Key: public(heir)}, []ed25519.PublicKey{public(id)}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.HandOver(names.Claimant{Key: public(last)}, []ed25519.PublicKey{public(heir)}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", nil)
		synctest.Wait()
		goesOn(t, v)
		v = r.talking(name)
		if _, err := other.Take(name, "", true); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Claim(t.Context(), names.Claimant{Name: name, Key: public(newIdentity(t))}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", []byte(name))
		broken(t, v)
		d.expectLost(t, name, framing.DeniedTaken)
		r.close()
	})
}

// Devices that take nothing of what they are told when they are cut do not hold up what
// other nodes cut, or ban, after them.
func TestDeafDevicesHoldUpNoCutsOfOtherNodes(t *testing.T) {
	for name, inRecord := range map[string]bool{"a cut": false, "a ban in the record": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, other := sharedRig(t)
				over := make(chan struct{})
				var all []identity
				for range 30 {
					id := newIdentity(t)
					deaf := new(device)
					if err := r.linkWith(deaf, id, framing.Handler{GoAway: func(framing.GoAway) { <-over }}); err != nil {
						t.Fatal(err)
					}
					all = append(all, id)
				}
				last := newIdentity(t)
				r.device(last, "a.relay.test").echo("a")
				a := r.talking("a.relay.test")
				began := time.Now()
				go func() { // as a node hears of them
					for _, id := range append(all, last) {
						ban := names.Ban{Kind: names.BanIdentity, Of: id.identity()}
						if inRecord {
							if _, err := other.Ban(ban); err != nil {
								t.Error(err)
							}
							continue
						}
						cut := relay.CutOf(ban)
						cut.Elsewhere = true
						r.srv.Cut(cut)
					}
				}()
				broken(t, a)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the visitor of the last one is cut after %v", took)
				}
				close(over)
			})
		})
	}
}
