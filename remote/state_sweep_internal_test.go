package remote

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A process that is killed while it writes a key leaves the key behind. The next one that locks
// the state directory removes it, and not what others may be writing without the lock; that goes
// at a start once it is old.
func TestWhatAKilledProcessHasLeftIsRemoved(t *testing.T) {
	dir := newStateDir(t)
	before := slices.Sorted(maps.Keys(tree(t, dir)))
	keys := []string{".new-identity.pem-1", ".new-handovers.json-2", ".new-run-3", "tokens/.new-relay.test-4", "tokens/.new-5", ".import-new/identity.pem", ".import-new/.new-aside-6"}
	others := []string{".new-relay-list.json-7", "names/.new-app.relay.test.json-8", "acme/certificates/ca/app.relay.test/.new-app.relay.test.key-9", "gate/.new-key-10", ".new-11"}
	check := func(what string, want []string) {
		t.Helper()
		got := slices.Sorted(maps.Keys(tree(t, dir)))
		if want = slices.Sorted(slices.Values(slices.Concat(before, want))); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q are there, want\n%q", what, got, want)
		}
	}
	for what, open := range map[string]func() error{
		"a token":    func() error { return KeepToken(dir, "relay.test", "token") },
		"a look":     func() error { _, err := ShowIdentity(dir); return err },
		"a start":    func() error { _, err := openState(dir); return err },
		"a rotation": func() error { _, err := RotateIdentity(dir, true); return err },
	} {
		for _, name := range slices.Concat(keys, others) {
			write(t, filepath.Join(dir, filepath.FromSlash(name)), "a key")
		}
		if err := open(); err != nil {
			t.Fatal(err)
		}
		if what == "a rotation" {
			before = slices.Compact(slices.Sorted(slices.Values(append(before, handoversFile))))
		}
		check(what, others)
	}
	for _, name := range others {
		day := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(name)), day, day); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openState(dir); err != nil {
		t.Fatal(err)
	}
	check("a start later", nil)
	for name, text := range tree(t, dir) {
		if strings.Contains(text, "a key") {
			t.Errorf("%s is what was left", name)
		}
	}
}
