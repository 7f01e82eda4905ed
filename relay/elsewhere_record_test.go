package relay_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// A sharedFile is a record that another node has, too.
type sharedFile struct {
	*names.Grants
	tell func(names.Table, []byte)
}

func (s *sharedFile) Elsewhere(f func(names.Table, []byte)) { s.tell = f }
func (s *sharedFile) Fresh(context.Context)                 {}

// sharedRig returns a relay, what it is told of the other nodes' changes by, and the
// policy of another node.
func sharedRig(t *testing.T) (r *rig, shared *sharedFile, other *names.Names) {
	r = memRig(t, func(s *relay.Server) {
		shared = &sharedFile{Grants: s.Names.Grants.(*names.Grants)}
		s.Names.Grants = shared
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
