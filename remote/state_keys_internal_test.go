package remote

import (
	"crypto/ed25519"
	"testing"
)

// A name may lead to relays of several versions, or to one that says another version each
// time: each link has the key that its own relay knows, and shows hand-overs where that one
// reads them.
func TestEachLinkGoesByTheVersionOfItsOwnRelay(t *testing.T) {
	const relay = "relay.test:443"
	old := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var k keys
	k.set(key, []handover{{Old: old.Seed(), New: key.Public().(ed25519.PublicKey), Waiting: []waiting{{Relay: "relay.test", Names: []string{"a.relay.test"}}}}})
	for i := range 20 {
		minor, want, shown := uint8(handoverMinor), key, 1
		if i%2 == 0 {
			minor, want, shown = handoverMinor-1, old, 0
		}
		k.learn(relay, minor)
		if got := k.forRelay(relay); !got.Equal(want) {
			t.Errorf("after %d changes it is greeted with another key", i)
		}
		k.learn(relay, handoverMinor) // by another link
		if !k.isFor(relay, minor, want.Public().(ed25519.PublicKey)) {
			t.Errorf("after %d changes a link of minor version %d is to have another key", i, minor)
		}
		if got := k.handovers(relay, minor, k.public()); len(got) != shown {
			t.Errorf("after %d changes, of minor version %d: %d hand-overs are shown, want %d", i, minor, len(got), shown)
		}
	}
	if other := k.forRelay("other.test"); !other.Equal(key) {
		t.Error("what is known of one relay is believed of another")
	}
}

// All hand-overs are those that lead to the identity of the link, however far the list goes on,
// and none where the relay reads none.
func TestAllHandoversLeadToTheIdentityOfTheLink(t *testing.T) {
	dir, first := rotatedState(t)
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	for identity, want := range map[*state]int{first: 1, s: 2} {
		if all := s.keys.every(handoverMinor, identity.public()); len(all) != want || all.Verify(identity.public()) != nil {
			t.Errorf("%d are shown, want %d: %v", len(all), want, all.Verify(identity.public()))
		}
		if all := s.keys.every(handoverMinor-1, identity.public()); len(all) > 0 {
			t.Errorf("%d are shown to a relay that reads none", len(all))
		}
	}
}
