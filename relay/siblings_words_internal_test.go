package relay

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"keystay/framing"
)

// What devices say of their siblings takes so much memory at most, and a name's newest
// claim counts. Names that cost less make nobody forget the words of others.
func TestWordsAreBounded(t *testing.T) {
	var b siblings
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	long := strings.Repeat("a", 253)
	b.list.Store(&[]*sibling{{Sibling: Sibling{Name: "d"}}})
	b.note(key, framing.Claim{Name: "proven.example", Siblings: []string{"d"}}, ownDomain)
	b.note(key, framing.Claim{Name: "given.relay.test", Siblings: []string{"d"}}, givenName)
	rules := framing.Rules{Allow: make([]netip.Prefix, framing.MaxRules)}
	for _, c := range []framing.Claim{{Siblings: []string{long}}, {Siblings: []string{"d"}}, {Siblings: []string{"d"}, Rules: rules}} {
		before := heap()
		for i := range maxWords + 10 {
			c.Name = strings.Clone(fmt.Sprint(i))
			c.Rules.Allow = slices.Clone(c.Rules.Allow)
			b.note(bytes.Clone(key), c, madeName)
		}
		m := &b.kinds[madeName]
		if took := heap() - before; len(m.by) > maxWords || m.held > maxWordBytes || took > maxWordBytes {
			t.Errorf("%d words of %d bytes take %d", len(m.by), m.held, took)
		}
		b.forget(func(name string) bool { return b.kinds[madeName].by[name].made }, anybodys)
	}
	for _, name := range []string{"proven.example", "given.relay.test"} {
		if _, ok := b.of(name); !ok {
			t.Errorf("names that anybody may have take the place of %s", name)
		}
	}
	b.note(key, framing.Claim{Name: "x", Siblings: []string{"b", "c"}}, ownDomain)
	b.note(key, framing.Claim{Name: "x", Siblings: []string{"d"}}, ownDomain)
	if w, ok := b.of("x"); !ok || len(w.siblings) != 1 || w.siblings[0] != "d" {
		t.Errorf("the word is %q", w.siblings)
	}
	b.note(key, framing.Claim{Name: "x"}, ownDomain)
	if _, ok := b.of("x"); ok {
		t.Error("a claim without siblings leaves those from before")
	}
	b.forget(func(string) bool { return true }, anybodys)
	for kind, l := range b.kinds {
		if len(l.by) != 0 || l.held != 0 {
			t.Errorf("%d words of %d bytes of kind %d are left", len(l.by), l.held, kind)
		}
	}
}

func anybodys([]byte) bool { return true }

// A name that is lost, as each is whose token is revoked, is looked for by its name: of the
// words of others no key is asked, which takes far longer.
func TestNoKeyIsAskedOfWordsOfOtherNames(t *testing.T) {
	var b siblings
	b.list.Store(&[]*sibling{{Sibling: Sibling{Name: "d"}}})
	keys := []ed25519.PublicKey{make([]byte, ed25519.PublicKeySize), bytes.Repeat([]byte{1}, ed25519.PublicKeySize)}
	names := []string{"a.relay.test", "b.relay.test", "c.a.relay.test"}
	for i, name := range names {
		b.note(keys[i%2], framing.Claim{Name: name, Siblings: []string{"d"}}, givenName)
	}
	asked := 0
	of := func(key []byte) func([]byte) bool {
		return func(k []byte) bool { asked++; return bytes.Equal(k, key) }
	}
	lost := Cut{Identity: "x", Name: names[0]}
	b.forget(lost.names, of(keys[1]))
	if _, ok := b.of(names[0]); !ok || asked != 1 {
		t.Errorf("the word is kept: %v; %d keys were asked", ok, asked)
	}
	b.forget(lost.names, of(keys[0]))
	for i, name := range names {
		if _, ok := b.of(name); ok != (i > 0) {
			t.Errorf("the word of %s is kept: %v", name, ok)
		}
	}
}

// BenchmarkForgetOneName is what that costs where there are as many words as can be.
func BenchmarkForgetOneName(b *testing.B) {
	var s siblings
	s.list.Store(&[]*sibling{{Sibling: Sibling{Name: "d"}}})
	for kind := range nameKinds {
		for i := range maxWordBytes / 4 / wordMemory {
			s.note(fmt.Appendf(nil, "%032d", i), framing.Claim{Name: fmt.Sprintf("n%d.k%d.relay.test", i, kind), Siblings: []string{"d"}}, kind)
		}
	}
	c := Cut{Identity: "x", Name: "a.example.org"}
	for b.Loop() {
		s.forget(c.names, anybodys)
	}
}

// heap is how much memory is in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A relay without siblings keeps nothing of what devices say of theirs, and nothing of
// what they have said once it has none any more.
func TestWithoutSiblingsNoWordsAreKept(t *testing.T) {
	s := &Server{}
	claim := framing.Claim{Name: "a", Siblings: []string{"d"}}
	words := func() int { return len(s.siblings.kinds[madeName].by) }
	if s.siblings.note(nil, claim, madeName); words() != 0 {
		t.Errorf("%d words are kept", words())
	}
	s.SetSiblings([]Sibling{{Name: "d"}})
	if s.siblings.note(nil, claim, madeName); words() != 1 {
		t.Errorf("%d words are kept with a sibling", words())
	}
	if s.SetSiblings(nil); words() != 0 {
		t.Errorf("%d words are left", words())
	}
}
