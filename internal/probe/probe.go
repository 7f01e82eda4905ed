// Package probe is what a probe of a public name and the device that serves the name have
// to agree about: how a connection is known at both of its ends.
package probe

import "crypto/tls"

const (
	// Label is that of the TLS exporter by which both ends know a connection (RFC 8446,
	// section 7.5), with no context. It is used for nothing else.
	Label = "EXPORTER-keystay-watch-v1"
	// Size is how much is exported, in bytes.
	Size = 32
)

// An Exporter is what both ends of one TLS connection, and nobody else, can export of it.
// Whoever ends TLS on the way has two connections, and so two of them.
type Exporter [Size]byte

// ExporterOf returns that of a connection whose handshake is over. It fails with TLS 1.2
// without the extended master secret (RFC 7627).
func ExporterOf(state *tls.ConnectionState) (e Exporter, err error) {
	b, err := state.ExportKeyingMaterial(Label, nil, Size)
	copy(e[:], b)
	return e, err
}

// A Random is that of a ClientHello (RFC 8446, section 4.1.2): by it a connection is known
// whose handshake fails. Anybody on the way can copy it.
type Random [32]byte

// An End says whether a connection ended at a device.
type End int

const (
	// Unsure: it was not found there, and may be one that has come there and failed.
	Unsure End = iota
	// Here: it ended there.
	Here
	// Elsewhere: it did not.
	Elsewhere
)
