package names_test

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zone = "relay.test"

// A rig is a policy with its record.
type rig struct {
	t     *testing.T
	names *names.Names
	dir   string
}

// newRig returns a policy with a new record. set may change it.
func newRig(t *testing.T, set func(*names.Names)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.names = &names.Names{Grants: openGrants(t, r.dir)}
	if set != nil {
		set(r.names)
	}
	r.names.Begin(zone)
	return r
}

// grants is the record of the rig.
func (r *rig) grants() *names.Grants { return r.names.Grants.(*names.Grants) }

func policy(p names.Policy, tokens ...names.Token) func(*names.Names) {
	return func(n *names.Names) { n.Policy, n.Tokens = p, tokens }
}

func openGrants(t *testing.T, dir string) *names.Grants {
	t.Helper()
	g, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// An identity is a device's key.
type identity struct{ key ed25519.PrivateKey }

func newIdentity(t testing.TB) identity {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return identity{key}
}

func public(id identity) ed25519.PublicKey { return id.key.Public().(ed25519.PublicKey) }

// label is the name made from the device's key.
func (id identity) label() string { return keyname.Label(public(id), "") + "." + zone }

func (r *rig) claim(id identity, name, token string) error {
	_, err := r.names.Claim(r.t.Context(), names.Claimant{Name: name, Key: public(id), Token: token})
	return err
}

// allowed checks that a claim is granted.
func (r *rig) allowed(id identity, name, token string) {
	r.t.Helper()
	if err := r.claim(id, name, token); err != nil {
		r.t.Errorf("claim: %v", err)
	}
}

// denied checks the answer to a claim.
func denied(t testing.TB, err error, code names.Code) {
	t.Helper()
	var d *names.Denied
	if !errors.As(err, &d) || d.Code != code {
		t.Errorf("claim: %v, want code %d", err, code)
	}
}

// asKey returns the bytes of a key as one.
func asKey(b []byte) ed25519.PublicKey { return b }
