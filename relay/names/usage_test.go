package names_test

import (
	"bytes"
	"testing"

	"keystay/relay/names"
)

// What a token allows is that of the names that it has opened, and of no other.
func TestLimitsOfATokensNames(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	secret, made, err := r.names.CreateToken(names.TokenInfo{Names: []string{"*.relay.test"}, Limits: map[string]string{"bandwidth": "10MiB/s"}})
	if err != nil {
		t.Fatal(err)
	}
	r.allowed(a, "a.relay.test", secret)
	r.allowed(b, "b.relay.test", "")
	for name, want := range map[string]string{"a.relay.test": "10MiB/s", "b.relay.test": "", "c.relay.test": ""} {
		if got, err := r.names.LimitsOf(name); got["bandwidth"] != want || err != nil {
			t.Errorf("%s is allowed %v, %v", name, got, err)
		}
	}
	if _, err := r.names.RevokeToken(made.ID, false); err != nil {
		t.Fatal(err)
	}
	if got, err := r.names.LimitsOf("a.relay.test"); len(got) != 0 || err != nil {
		t.Errorf("when the token is revoked it is allowed %v, %v", got, err)
	}
}

// What was used is kept over a restart, and taken out where it is nil.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	open := func() (*names.Names, *names.Grants) {
		g, err := names.OpenGrants(dir)
		if err != nil {
			t.Fatal(err)
		}
		n := &names.Names{Grants: g}
		n.Begin("relay.test")
		return n, g
	}
	n, g := open()
	if err := n.SaveUsage(map[string][]byte{"name a": []byte("1"), "name b": []byte("2"), "name c": nil}); err != nil {
		t.Fatal(err)
	}
	if err := n.SaveUsage(map[string][]byte{"name a": nil, "name b": []byte("3")}); err != nil {
		t.Fatal(err)
	}
	g.Close()
	n, g = open()
	defer g.Close()
	kept, err := n.LoadUsage()
	if err != nil || len(kept) != 1 || !bytes.Equal(kept["name b"], []byte("3")) {
		t.Errorf("kept %q, %v", kept, err)
	}
}
