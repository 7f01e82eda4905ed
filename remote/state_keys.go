package remote

import (
	"crypto/ed25519"
	"slices"
	"sync"
	"time"

	"keystay/framing"
)

// handoverMinor is the first minor version of the protocol whose relays know hand-overs.
const handoverMinor = 3

// keys are the identity of a run and what earlier ones hand over to it, as the run
// knows them: the state directory may have a newer one already. The list may lead
// further than to the key, never less far.
type keys struct {
	mu       sync.Mutex
	key      ed25519.PrivateKey
	list     []handover
	versions map[string]version // of relays
}

// A version is what is known of the protocol that a relay speaks. A relay may be replaced by a
// newer one, and by the older one again. But what says another version each time, and has the
// device leave one key for the other, is believed a few times, and then now and then.
type version struct {
	older   bool // it knows no hand-overs
	changes allowance
}

const (
	versionBurst    = 3
	versionInterval = 10 * time.Minute
)

func (k *keys) set(key ed25519.PrivateKey, list []handover) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.list = key, list
}

// setList is set for the list alone.
func (k *keys) setList(list []handover) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = list
}

// current is the identity's key.
func (k *keys) current() ed25519.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.key
}

// public is the identity.
func (k *keys) public() ed25519.PublicKey { return k.current().Public().(ed25519.PublicKey) }

// forRelay returns the key to greet a relay with: the device's; but where the relay is
// too old to hear of a hand-over and has given names to an earlier key, that one.
func (k *keys) forRelay(relay string) ed25519.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if list := forRelay(k.list, relay); k.versions[relayHost(relay)].older && len(list) > 0 && len(list[0].waits(relayHost(relay)).Names) > 0 {
		return list[0].old()
	}
	return k.key
}

// isFor reports whether a link to a relay has the key that forRelay returns.
func (k *keys) isFor(relay string, identity ed25519.PublicKey) bool {
	return identity.Equal(k.forRelay(relay).Public())
}

// learn notes which minor version a relay speaks.
func (k *keys) learn(relay string, minor uint8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	host, older := relayHost(relay), minor < handoverMinor
	v, known := k.versions[host]
	if known && (older == v.older || v.changes.take(versionBurst, versionInterval) > 0) {
		return
	}
	if k.versions == nil {
		k.versions = make(map[string]version)
	}
	v.older = older
	k.versions[host] = v
}

// handovers are what a relay is shown on a link of an identity.
func (k *keys) handovers(relay string, identity ed25519.PublicKey) framing.Handovers {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.versions[relayHost(relay)].older {
		return nil
	}
	end := slices.IndexFunc(k.list, func(h handover) bool { return identity.Equal(ed25519.PublicKey(h.New)) })
	return framed(forRelay(k.list[:end+1], relay))
}
