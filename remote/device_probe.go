package remote

import (
	"crypto/ed25519"

	"keystay/internal/probe"
)

// PublicKey returns the identity's public key.
func (d *Device) PublicKey() ed25519.PublicKey {
	return d.state.keys.current().Public().(ed25519.PublicKey)
}

// SignQuestion returns a question to another remote, signed by the identity, and the hash
// that its answer has to name.
func (d *Device) SignQuestion(q probe.Question) (doc, hash []byte) {
	return probe.SignQuestion(d.state.keys.current(), q)
}

// SignAnswer returns an answer to another remote, signed by the identity.
func (d *Device) SignAnswer(a probe.Answer) []byte {
	return probe.SignAnswer(d.state.keys.current(), a)
}
