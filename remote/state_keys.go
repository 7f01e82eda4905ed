package remote

import (
	"crypto/ed25519"
	"slices"
	"sync"

	"keystay/framing"
)

// handoverMinor is the first minor version of the protocol whose relays know hand-overs.
const handoverMinor = 3

// keys are the identity of a run and what earlier ones hand over to it, as the run
// knows them: the state directory may have a newer one already. The list may lead
// further than to the key, never less far.
type keys struct {
	mu    sync.Mutex
	key   ed25519.PrivateKey
	list  []handover
	older map[string]bool // relays that knew no hand-overs when a link last came up
}

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

// forRelay returns the key to greet a relay with, as far as is known before it has said
// which version of the protocol it speaks: what it said last may have changed.
func (k *keys) forRelay(relay string) ed25519.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keyLocked(relay, k.older[relayHost(relay)])
}

// forLink returns the key that a link has to have whose relay speaks this minor version.
// Each link goes by its own relay's word: a name may lead to relays of several versions.
func (k *keys) forLink(relay string, minor uint8) ed25519.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keyLocked(relay, minor < handoverMinor)
}

// keyLocked is the device's key; but where a relay is too old to hear of a hand-over and
// has given names to an earlier key, it is the first of those: the relay knows no other. One
// that had nothing there but names made from it counts for none, since these end with it.
func (k *keys) keyLocked(relay string, older bool) ed25519.PrivateKey {
	i := slices.IndexFunc(k.list, func(h handover) bool {
		w := h.waits(relayHost(relay))
		return w != nil && len(w.Names) > 0
	})
	if !older || i < 0 {
		return k.key
	}
	return k.list[i].old()
}

// isFor reports whether a link has the key that forLink returns.
func (k *keys) isFor(relay string, minor uint8, identity ed25519.PublicKey) bool {
	return identity.Equal(k.forLink(relay, minor).Public())
}

// learn notes which minor version a relay speaks, for the next greeting.
func (k *keys) learn(relay string, minor uint8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.older == nil {
		k.older = make(map[string]bool)
	}
	k.older[relayHost(relay)] = minor < handoverMinor
}

// handovers are what a relay of a minor version is shown on a link of an identity.
func (k *keys) handovers(relay string, minor uint8, identity ed25519.PublicKey) framing.Handovers {
	k.mu.Lock()
	defer k.mu.Unlock()
	if minor < handoverMinor {
		return nil
	}
	return framed(forRelay(k.upToLocked(identity), relay))
}

// every is handovers with those, too, that the relay has heard of or need not have.
func (k *keys) every(minor uint8, identity ed25519.PublicKey) framing.Handovers {
	k.mu.Lock()
	defer k.mu.Unlock()
	if minor < handoverMinor {
		return nil
	}
	return framed(newest(k.upToLocked(identity), framing.MaxHandovers))
}

// upToLocked is the list as far as it leads to an identity.
func (k *keys) upToLocked(identity ed25519.PublicKey) []handover {
	end := slices.IndexFunc(k.list, func(h handover) bool { return identity.Equal(ed25519.PublicKey(h.New)) })
	return k.list[:end+1]
}
