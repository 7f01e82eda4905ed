package names_test

import (
	"bytes"
	"testing"

	"keystay/relay/names"
)

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
