package framing_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// chain returns the hand-overs from each of n keys to the next, and the last key.
func chain(n int) (framing.Handovers, ed25519.PublicKey) {
	var list framing.Handovers
	for i := range n {
		list = append(list, framing.NewHandover(keyFrom(byte(i)), keyFrom(byte(i+1))))
	}
	return list, public(keyFrom(byte(n)))
}

// Hand-overs hold when each is signed by both keys, and they lead without a gap to
// the key of the link, also after they went over the wire without the new keys.
func TestHandoversThatBothKeysSignedHold(t *testing.T) {
	for n := range framing.MaxHandovers + 1 {
		list, last := chain(n)
		if err := list.Verify(last); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		for i := range list {
			list[i].New = nil
		}
		if err := list.For(last).Verify(last); err != nil {
			t.Errorf("%d from the wire: %v", n, err)
		}
	}
}

// Nobody can make a hand-over without both keys, or take one that others made.
func TestHandoversOfOthersDoNotHold(t *testing.T) {
	thief := keyFrom(77)
	for name, change := range map[string]func(framing.Handovers) (framing.Handovers, ed25519.PublicKey){
		"to the key of somebody who listened": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) { return l, public(thief) },
		"the last signed once more by a thief": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			l[2].New, l[2].NewSigned = public(thief), framing.NewHandover(thief, keyFrom(3)).NewSigned
			return l, public(thief)
		},
		"not signed by the new key": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			l[2].NewSigned = l[2].OldSigned // the roles do not stand for each other
			return l, l[2].New
		},
		"not signed by the old key": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			l[0].OldSigned = l[0].NewSigned
			return l, l[2].New
		},
		"signatures in each other's place": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			l[1].OldSigned, l[1].NewSigned = l[1].NewSigned, l[1].OldSigned
			return l, l[2].New
		},
		"a gap": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			return slices.Delete(l, 1, 2), l[2].New
		},
		"another order": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			slices.Reverse(l)
			return l, l[2].New
		},
		"backwards":      func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) { return l, l[0].Old },
		"a bit of a key": func(l framing.Handovers) (framing.Handovers, ed25519.PublicKey) { l[0].Old[9] ^= 1; return l, l[2].New },
		"to itself": func(framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			return framing.Handovers{framing.NewHandover(thief, thief)}, public(thief)
		},
		"no keys": func(framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			return framing.Handovers{{}}, nil
		},
		"too many": func(framing.Handovers) (framing.Handovers, ed25519.PublicKey) {
			return chain(framing.MaxHandovers + 1)
		},
	} {
		list, _ := chain(3)
		list, last := change(list)
		if err := list.Verify(last); !errors.Is(err, framing.ErrHandover) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature of a hand-over is good for no link, and the other way round.
func TestProofOfALinkIsNoHandover(t *testing.T) {
	h := framing.NewHandover(keyFrom(1), keyFrom(2))
	for _, prefix := range []string{"keystay-link-v1\x00remote\x00", "keystay-handover-v1\x00new\x00"} {
		text := slices.Concat([]byte(prefix), h.Old, h.New)
		if ed25519.Verify(h.Old, text, h.OldSigned) {
			t.Errorf("the old key has signed %q", prefix)
		}
	}
}

// A relay ends the link of a remote that sends anything but whole hand-overs, or more
// than there may be.
func TestBrokenHandoversEndTheLink(t *testing.T) {
	for name, field := range map[string][]byte{
		"a part":   make([]byte, 159),
		"too many": make([]byte, (framing.MaxHandovers+1)*160),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: 3, handler: framing.Handler{Claim: grantAll}}.remote(t)
				p.send(rec(claim, str8("x"), str16(""), []byte{0}, str16(""), u16(len(field)), field, str8("")))
				<-l.Done()
				if !errors.Is(l.Err(), framing.ErrProtocol) {
					t.Errorf("the link ended with %v", l.Err())
				}
			})
		})
	}
}

// The longest claim there may be fits into its record.
func TestLongestClaimArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, claims := claimLinks(t)
		list, last := chain(framing.MaxHandovers)
		name := string(bytes.Repeat([]byte("a"), 253))
		c := framing.Claim{Name: name, Token: string(make([]byte, 1024)), Handovers: list, Word: name[:253] + "aa"}
		for i := range framing.MaxRules {
			c.Deny = append(c.Deny, ranges("2001:db8::/"+[]string{"64", "65"}[i%2])...)
		}
		for range framing.MaxSiblings {
			c.Siblings = append(c.Siblings, name)
		}
		if _, err := remote.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got := <-claims
		if err := got.Handovers.For(last).Verify(last); err != nil {
			t.Error(err)
		}
		if !slices.Equal(got.Siblings, c.Siblings) {
			t.Errorf("the siblings are %q", got.Siblings)
		}
		up(t, relay)
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: "x", Handovers: make(framing.Handovers, framing.MaxHandovers+1)}); err == nil {
			t.Error("too many hand-overs were sent")
		}
	})
}
