package remote

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/keyname"
)

// A new key has the hand-over from the old one with it, which is kept until each relay
// has heard: of several rotations each relay hears what it has not heard yet.
func TestOldKeysAreKeptUntilEachRelayHasHeard(t *testing.T) {
	dir := newStateDir(t)
	keyOf := func() ed25519.PublicKey {
		s, unlock, err := lockIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		return s.public()
	}
	load := func() []handover {
		list, err := (&state{dir: dir}).loadHandovers(keyOf())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	a := keyOf()
	r, err := RotateIdentity(dir, false)
	if err != nil || !slices.Equal(r.Domains, []string{"www.example.test"}) || r.Old != labelOf(a) || r.New != labelOf(keyOf()) {
		t.Fatalf("%+v, %v", r, err)
	}
	want := []WaitingRelay{{"other.test", []string{"www.example.test"}}, {"relay.test", []string{"app.relay.test", "www.example.test"}}}
	if fmt.Sprint(r.Waiting) != fmt.Sprint(want) {
		t.Errorf("waiting: %+v", r.Waiting)
	}
	b := keyOf()
	s := &state{dir: dir}
	if left, err := s.noteHeard("RELAY.test:8443", b); err != nil || len(pending(left)) != 1 {
		t.Errorf("left %+v, %v", left, err)
	}
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	c := keyOf()
	list := load()
	for relay, n := range map[string]int{"relay.test": 1, "other.test": 2, "third.test": 0} {
		got := framed(forRelay(list, relay))
		if len(got) != n || got.Verify(c) != nil {
			t.Errorf("%s is shown %d, want %d: %v", relay, len(got), n, got.Verify(c))
		}
	}
	if left, _ := s.noteHeard("relay.test", c); len(pending(left)) != 2 {
		t.Errorf("left %+v", left)
	}
	if left, _ := s.noteHeard("other.test", b); len(pending(left)) != 1 { // a link from before the second rotation
		t.Errorf("left %+v", left)
	}
	if left, err := s.noteHeard("other.test", c); len(pending(left)) != 0 || err != nil {
		t.Errorf("left %+v, %v", left, err)
	}
	if text := tree(t, dir)[handoversFile]; strings.Contains(text, `"old":`) {
		t.Errorf("a key is kept: %q", text)
	}
	if left := framed(load()); len(left) != 2 || left.Verify(c) != nil {
		t.Errorf("what was signed is gone: %d, %v", len(left), left.Verify(c))
	}
	if keyOf(); !c.Equal(keyOf()) {
		t.Error("the key has changed")
	}
}

// A key that no relay has to hear of is kept nowhere after it has been changed.
func TestKeyThatNobodyWaitsForIsNotKept(t *testing.T) {
	dir := t.TempDir()
	if _, err := openState(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	if text := tree(t, dir)[handoversFile]; strings.Contains(text, `"old":`) {
		t.Errorf("a key is kept: %q", text)
	}
}

// Wherever a rotation breaks off, the device has one of the keys, and what leads to it.
func TestRotationThatBreaksOffLosesNothing(t *testing.T) {
	dir := newStateDir(t)
	before := tree(t, dir)
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	after := tree(t, dir)
	// The hand-over is written, the new key not: the old one goes on, and the next
	// rotation begins anew.
	write(t, filepath.Join(dir, identityFile), before[identityFile])
	info, err := ShowIdentity(dir)
	if err != nil || len(info.Handovers) != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := openState(dir); err != nil {
		t.Error(err)
	}
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	if info, err := ShowIdentity(dir); err != nil || len(info.Handovers) != 1 || len(info.Handovers[0].Relays) != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	// Nothing can be written: a folder stands in the file's place.
	full := newStateDir(t)
	write(t, filepath.Join(full, handoversFile, "x"), "")
	was := tree(t, full)[identityFile]
	if _, err := RotateIdentity(full, false); err == nil || tree(t, full)[identityFile] != was {
		t.Errorf("there is another key: %v", err)
	}
	// A damaged file is not overwritten, since it holds keys.
	write(t, filepath.Join(dir, handoversFile), after[handoversFile][:100])
	for _, err := range []error{func() error { _, err := RotateIdentity(dir, false); return err }(), func() error { _, err := ShowIdentity(dir); return err }()} {
		if len(hint.All(err)) == 0 {
			t.Errorf("damaged: %v", err)
		}
	}
	if tree(t, dir)[handoversFile] != after[handoversFile][:100] {
		t.Error("it was overwritten")
	}
}

// Names made from the key end with it: that is said before anything is changed. The
// next start then finds the relay by the name made from the new key.
func TestNamesMadeFromTheKeyEndWithIt(t *testing.T) {
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	old := labelOf(s.public()) + ".relay.test"
	if unlock, err := s.lockName(old); err != nil || unlock() != nil {
		t.Fatal(err)
	}
	if err := s.remember(old, served{Relays: []string{"relay.test:8443"}, Made: true, Service: "http://127.0.0.1:3000"}); err != nil {
		t.Fatal(err)
	}
	if err := s.remember(keyname.Label(s.public(), "wiki")+".relay.test", served{Relays: []string{"relay.test"}, Made: true, Word: "wiki"}); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	var ends *KeyNamesError
	r, err := RotateIdentity(dir, false)
	if !errors.As(err, &ends) || !slices.Contains(ends.Names, old) || len(r.Ending) != 2 || len(hint.All(err)) == 0 || !maps.Equal(before, tree(t, dir)) {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = RotateIdentity(dir, true); err != nil {
		t.Fatal(err)
	}
	info, err := ShowIdentity(dir)
	key, _ := base64.StdEncoding.DecodeString(info.PublicKey)
	for _, want := range []string{r.New + ".relay.test", keyname.Label(key, "wiki") + ".relay.test"} {
		if err != nil || len(info.Names) != 2 || !slices.ContainsFunc(info.Names, func(n ServedName) bool { return n.Name == want && n.FromKey }) {
			t.Errorf("no %s: %+v, %v", want, info, err)
		}
	}
	name, how, err := s.choose(Name{Service: "http://127.0.0.1:3000"})
	if name != "" || !slices.Equal(how.Relays, []string{"relay.test:8443"}) || err != nil {
		t.Errorf("the next start serves %q by %+v, %v", name, how, err)
	}
}

// The old key stays the device's where it cannot be read who has given a name.
func TestNoNewKeyWhereAFileOfANameIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, servedFile("app.relay.test"))
	write(t, file, "")
	before := tree(t, dir)
	var damaged *DamagedError
	r, err := RotateIdentity(dir, true)
	if !errors.As(err, &damaged) || damaged.File != file || len(hint.All(err)) == 0 || r.New != "" || !maps.Equal(before, tree(t, dir)) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.remember("app.relay.test", served{Relays: []string{"relay.test"}}); err != nil {
		t.Fatal(err)
	}
	if r, err := RotateIdentity(dir, false); err != nil || len(r.Waiting) != 1 {
		t.Errorf("once it is whole: %+v, %v", r, err)
	}
}

// No more hand-overs are written than are read: the keys in them would be lost.
func TestNoNewKeyWhoseHandoversCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat(strings.Repeat("x", 60)+".", 3)
	var relays []string
	for i := range 60 {
		relays = append(relays, fmt.Sprintf("%d.%srelay.test", i, long))
	}
	for i := range 50 {
		how, err := json.Marshal(served{Relays: relays})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s.path(servedFile(fmt.Sprintf("%d.%sexample.test", i, long))), string(how))
	}
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if _, err := RotateIdentity(dir, false); err == nil || len(hint.All(err)) == 0 || !maps.Equal(before, tree(t, dir)) {
		t.Errorf("one more: %v", err)
	}
	if info, err := ShowIdentity(dir); err != nil || len(info.Handovers) != 1 {
		t.Errorf("%d hand-overs, %v", len(info.Handovers), err)
	}
}

// More keys than a claim can hand over are not made.
func TestRotationsThatNoRelayHears(t *testing.T) {
	dir := newStateDir(t)
	for range framing.MaxHandovers {
		if _, err := RotateIdentity(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)
	if _, err := RotateIdentity(dir, false); err == nil || len(hint.All(err)) == 0 || !maps.Equal(before, tree(t, dir)) {
		t.Errorf("one more: %v", err)
	}
	s := &state{dir: dir}
	for _, relay := range []string{"relay.test", "other.test"} {
		info, unlock, err := lockIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if _, err := s.noteHeard(relay, info.public()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Error(err)
	}
}

// Whatever the file of hand-overs holds, it is said or it works.
func TestHandoversThatAreNoneAreDamaged(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, ed25519.PublicKeySize))
	for text, damaged := range map[string]bool{
		"": true, "{": true, "{}": true, "null": false, "[]": false, "[null]": true, "[{}]": true,
		`[{"old_public":"AA=="}]`:                                                true,
		`[{"old":"` + key + `","old_public":"AA=="}]`:                            true, // it leads nowhere
		`[{"old_public":"` + key + `","waiting":[{"relay":"relay.test"}]}]`:      true, // whose key is it?
		`[{"old_public":"` + key + `","new":"` + key + `","old_signed":"AA=="}]`: true,
	} {
		dir := newStateDir(t)
		write(t, filepath.Join(dir, handoversFile), text)
		_, shown := ShowIdentity(dir)
		_, err := RotateIdentity(dir, false)
		if (shown != nil) != damaged || (err != nil) != damaged || damaged && !slices.Equal(hint.All(err), hint.All(shown)) {
			t.Errorf("%s: %v, %v", text, shown, err)
		}
	}
}

// Which relays have to hear of a hand-over is signed by nobody, and nothing keeps the file from
// being damaged: whatever it says, there is an error or it works, and no key is lost.
func TestAnyContentOfTheHandoversIsAnErrorOrWorks(t *testing.T) {
	full, _ := rotatedState(t)
	for range framing.MaxHandovers - 1 {
		if _, err := RotateIdentity(full, false); err != nil {
			t.Fatal(err)
		}
	}
	text := tree(t, full)[handoversFile]
	for what, damage := range map[string]func([]map[string]any) any{
		"waiting of the first":     func(l []map[string]any) any { delete(l[0], "waiting"); return l },
		"an empty one":             func(l []map[string]any) any { l[0]["waiting"] = []any{}; return l },
		"an empty relay":           func(l []map[string]any) any { l[0]["waiting"] = []any{nil}; return l },
		"waiting of all":           func(l []map[string]any) any { l = without(l, "waiting"); return l },
		"the last alone":           func(l []map[string]any) any { return l[len(l)-1:] },
		"the last without waiting": func(l []map[string]any) any { return without(l[len(l)-1:], "waiting") },
		"the new keys":             func(l []map[string]any) any { return without(l, "new") },
		"the old keys":             func(l []map[string]any) any { return without(l, "old") },
		"signatures":               func(l []map[string]any) any { return without(l, "old_signed") },
		"one in front twice":       func(l []map[string]any) any { return append(l[:1:1], l...) },
		"one in front, of null":    func(l []map[string]any) any { return append([]map[string]any{{"old": l[0]["old"]}}, l...) },
		"elements of null":         func(l []map[string]any) any { return make([]map[string]any, framing.MaxHandovers) },
		"all":                      func([]map[string]any) any { return nil },
		"the kind":                 func([]map[string]any) any { return "text" },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tree(t, full) {
				write(t, filepath.Join(dir, filepath.FromSlash(name)), text)
			}
			var list []map[string]any
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(damage(list))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, handoversFile), string(b))
			key := tree(t, dir)[identityFile]
			_, showErr := ShowIdentity(dir)
			s, err := openState(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, relay := range []string{"relay.test", "other.test", "", "none.test"} {
				if list := s.keys.handovers(relay, handoverMinor, s.public()); list.Verify(s.public()) != nil {
					t.Errorf("%q is shown what does not hold: %v", relay, list.Verify(s.public()))
				}
				s.keys.forLink(relay, 0)
			}
			_, err = RotateIdentity(dir, false)
			after := tree(t, dir)
			if err != nil && (len(hint.All(err)) == 0 || after[identityFile] != key || after[handoversFile] != string(b)) {
				t.Errorf("something has changed, or no hint: %v", err)
			}
			if err == nil && showErr != nil {
				t.Errorf("rotated where it cannot be shown: %v", showErr)
			}
			list = nil
			_ = json.Unmarshal(b, &list)
			for i, h := range list {
				old, _ := h["old"].(string)
				if waiting, _ := h["waiting"].([]any); len(waiting) > 0 && !strings.Contains(after[handoversFile], old) {
					t.Errorf("the key of number %d is lost", i)
				}
			}
		})
	}
}

// A damaged file of hand-overs is restored from a backup, as is advised. One from before the
// last change of the key leads to a key that is not the device's: it is said, and the keys in it,
// which a relay may know alone, are not thrown away by the next change.
func TestBackupOfHandoversThatLeadsElsewhereIsSaid(t *testing.T) {
	dir, _ := rotatedState(t) // a relay waits for the first change
	backup := tree(t, dir)[handoversFile]
	s := &state{dir: dir}
	if err := s.readIdentity(); err != nil {
		t.Fatal(err)
	}
	list, err := s.loadHandovers(s.public())
	if err != nil || len(list) == 0 || len(list[0].Waiting) == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	first := base64.StdEncoding.EncodeToString(list[0].Old)
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, handoversFile), "{") // damaged
	if _, err := RotateIdentity(dir, false); err == nil {
		t.Fatal("no error of the damaged file")
	}
	write(t, filepath.Join(dir, handoversFile), backup) // as advised
	if info, err := ShowIdentity(dir); err == nil {
		t.Errorf("it is shown without an error, and that %d relays wait", len(info.Handovers))
	}
	if _, err := RotateIdentity(dir, false); err == nil {
		for _, text := range tree(t, dir) {
			if strings.Contains(text, first) {
				return
			}
		}
		t.Error("the first key, for which a relay waits, is nowhere any more")
	}
}

// without is a list whose elements do not have this key.
func without(list []map[string]any, key string) []map[string]any {
	for _, m := range list {
		delete(m, key)
	}
	return list
}
