package signin

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hash4 is a whole hash of the lowest cost, that no password is known for.
const hash4 = "$2y$04$....................................................."

// A look at a password costs the same for each user, and for nobody.
func TestEachLookAtAPasswordCostsTheSame(t *testing.T) {
	p, err := Parse([]byte("a:" + hash4 + "\nb:$2y$09$" + hash4[7:] + "\nc:$2b$06$" + hash4[7:]))
	if err != nil {
		t.Fatal(err)
	}
	want := 1 << 9
	for _, user := range []string{"a", "b", "c", "nobody", ""} {
		got := 0
		for _, hash := range p.work(user) {
			got += 1 << costOf(hash)
		}
		if got != want {
			t.Errorf("%q costs %d, want %d", user, got, want)
		}
	}
}

// The table of addresses does not grow without end, and loses those first that nothing
// is held against.
func TestTableOfGuessersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuesses()
		take := func(address string) time.Duration { return g.Take(netip.MustParseAddr(address)) }
		for i := range 25000 {
			take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		if n := len(g.by); n > maxGuessers {
			t.Errorf("%d addresses", n)
		}
		time.Sleep(time.Hour)
		for range guessBurst {
			take("192.0.2.1")
		}
		for i := range maxGuessers {
			take(fmt.Sprintf("11.%d.%d.%d", i>>16, i>>8&255, i&255))
			if i == maxGuessers/2 && take("192.0.2.1") == 0 {
				t.Fatal("an address that guesses was forgotten before those that do not")
			}
		}
	})
}

// Whoever finds all places taken and goes away was not looked at.
func TestWhoeverLeavesIsNotLookedAt(t *testing.T) {
	h := NewHashing()
	for range cap(h.places) {
		h.places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h.Do(ctx, func() { t.Error("it was looked at") }) {
		t.Error("there was a place")
	}
}

// Whatever a file of passwords says, what is taken is whole, and no error repeats a
// hash.
func FuzzPasswords(f *testing.F) {
	const hash = "$2y$04$......................./...................................."
	for _, s := range []string{"ada:" + hash[:60], "# x\nada:" + hash, "ada:{SHA}x", "a:$2a$99$", ":", "a:$2b$04$\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			for line := range bytes.Lines(text) {
				if _, secret, ok := strings.Cut(strings.TrimSpace(string(line)), ":"); ok && len(secret) > 20 && strings.Contains(err.Error(), secret) {
					t.Fatalf("%v repeats %q", err, secret)
				}
			}
			return
		}
		for user, hash := range p.hashes {
			if user == "" || strings.Contains(user, ":") || len(hash) != 60 || costOf(hash) < 4 || costOf(hash) > p.cost || p.cost > maxCost {
				t.Fatalf("%q has %q", user, hash)
			}
		}
	})
}

// Where nobody waits it is looked at once, also for a request whose context has ended, as
// that of a visitor who has sent all that it will.
func TestAFreePlaceIsTakenWhateverTheContextSays(t *testing.T) {
	h := NewHashing()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if !h.Do(over, func() {}) {
			t.Fatal("it was not looked at")
		}
	}
}
