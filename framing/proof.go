package framing

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
)

// The label of the exporter and the first bytes of what is signed. Each is used
// for nothing else.
const (
	exporterLabel = "EXPORTER-keystay-link-v1"
	proofPrefix   = "keystay-link-v1\x00remote\x00"
)

// ErrProof is the error of a proof of identity that does not hold: another key,
// another relay's name, or another TLS connection, as when something between
// remote and relay ends TLS.
var ErrProof = errors.New("proof of identity does not fit this connection")

// proofText is what a remote signs: the role, the relay's name, and the
// exporter of the connection it speaks on (RFC 8446, section 7.5).
func proofText(cs *tls.ConnectionState, relay string) ([]byte, error) {
	if cs.Version != tls.VersionTLS13 {
		return nil, fmt.Errorf("a link needs TLS 1.3, this is %s", tls.VersionName(cs.Version))
	}
	ekm, err := cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("export keying material: %w", err)
	}
	return append([]byte(proofPrefix+relay+"\x00"), ekm...), nil
}

// Sign puts the identity and its proof for the connection of cs to relay into
// h. The relay's name is in lower case, without a trailing dot.
func (h *Hello) Sign(key ed25519.PrivateKey, cs *tls.ConnectionState, relay string) error {
	text, err := proofText(cs, relay)
	if err != nil {
		return err
	}
	h.Key = key.Public().(ed25519.PublicKey)
	h.Signature = ed25519.Sign(key, text)
	return nil
}

// Verify checks the proof in h against the connection of cs. It returns
// [ErrProof] when it does not hold.
func (h *Hello) Verify(cs *tls.ConnectionState, relay string) error {
	text, err := proofText(cs, relay)
	if err != nil {
		return err
	}
	if len(h.Key) != ed25519.PublicKeySize || !ed25519.Verify(h.Key, text, h.Signature) {
		return ErrProof
	}
	return nil
}
