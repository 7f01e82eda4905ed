package cluster

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"keystay/internal/socket"
	"keystay/relay"
)

// ProtocolHop is the ALPN protocol name of a connection on which one node asks another
// to take a visitor (RFC 7301). Its digit is the version.
//
// The node that has dialled sends HOP, and nothing more before the answer. After YES
// both leave TLS, and the bare connection carries the visitor's bytes, which are TLS of
// the visitor's own, or what a TCP port carries, up to the end of each direction. After
// NO and REFUSED it may send another HOP.
const ProtocolHop = "keystay-hop/1"

// A hopMessage is the type of a message. Each has its type (1) and the length of what
// follows (3, big endian) in front; a number in brackets is a size in bytes.
type hopMessage uint8

const (
	msgHop     hopMessage = 1 // flags (1) length of the header (2) header (PROXY v2, as in HEADER of framing's PROTOCOL.md) first bytes
	msgYes     hopMessage = 2 // key (32) run number (8) run id (16) flags (1), all of the remote
	msgNo      hopMessage = 3 // nothing
	msgRefused hopMessage = 4 // alert (1) why, as the metrics have it
)

const (
	hopHead = 4 // in front of each message
	// hopValidation is the flag of a CA's validation. The others are 0, and ignored.
	hopValidation = 1
	// hostReplica and hostTakes are flags of YES: the run is a replica, and it can take the
	// visitor by a lane to the node that has sent HOP. The others are 0, and ignored.
	hostReplica = 1
	hostTakes   = 2
	// maxHopHeader is the longest header in HOP, in bytes.
	maxHopHeader = 1024
	// maxHop is the longest HOP, in bytes.
	maxHop = 3 + maxHopHeader + relay.MaxFirst
	// maxAnswer is the longest answer, in bytes.
	maxAnswer = 64
)

// errHopProtocol is the error of a node that does not keep to this.
var errHopProtocol = errors.New("cluster: a hop that keeps to no protocol")

func appendMessage(b []byte, m hopMessage, payload int) []byte {
	return append(b, byte(m), byte(payload>>16), byte(payload>>8), byte(payload))
}

// encodeHop is HOP.
func encodeHop(h *relay.Hop) ([]byte, error) {
	header, err := h.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if len(header) > maxHopHeader || len(h.First) > relay.MaxFirst {
		return nil, fmt.Errorf("encode a hop: a header of %d and %d bytes", len(header), len(h.First))
	}
	n := 3 + len(header) + len(h.First)
	b := appendMessage(make([]byte, 0, hopHead+n), msgHop, n)
	var flags byte
	if h.Validation {
		flags |= hopValidation
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(header)))
	b = append(b, header...)
	return append(b, h.First...), nil
}

// parseHop parses the payload of HOP, which First of the result keeps.
func parseHop(b []byte) (h relay.Hop, err error) {
	if len(b) < 3 {
		return h, fmt.Errorf("%w: HOP of %d bytes", errHopProtocol, len(b))
	}
	n := 3 + int(binary.BigEndian.Uint16(b[1:]))
	if n > len(b) || n > 3+maxHopHeader || len(b)-n > relay.MaxFirst {
		return h, fmt.Errorf("%w: HOP of %d bytes with a header of %d", errHopProtocol, len(b), n-3)
	}
	if err := h.UnmarshalBinary(b[3:n]); err != nil {
		return h, err
	}
	h.Validation = b[0]&hopValidation != 0
	h.First = b[n:]
	return h, nil
}

// encodeYes is the answer of a node whose remote has the visitor.
func encodeYes(h relay.Host) []byte {
	b := appendMessage(nil, msgYes, yesSize)
	var key [ed25519.PublicKeySize]byte
	copy(key[:], h.Key)
	b = append(b, key[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Run.Number)
	b = append(b, h.Run.ID[:]...)
	var flags byte
	if h.Replica {
		flags |= hostReplica
	}
	if h.Takes {
		flags |= hostTakes
	}
	return append(b, flags)
}

// yesSize is how many bytes YES has.
const yesSize = ed25519.PublicKeySize + 8 + 16 + 1

// parseYes parses the payload of YES, which the key of the result keeps.
func parseYes(b []byte) (h relay.Host) {
	s := cryptobyte.String(b)
	var flags uint8
	s.ReadBytes((*[]byte)(&h.Key), ed25519.PublicKeySize)
	s.ReadUint64(&h.Run.Number)
	s.CopyBytes(h.Run.ID[:])
	s.ReadUint8(&flags)
	h.Replica, h.Takes = flags&hostReplica != 0, flags&hostTakes != 0
	return h
}

// encodeNo is the answer that err of [relay.Server.ServeHop] is.
func encodeNo(err error) []byte {
	var refused *relay.HopRefused
	if errors.As(err, &refused) {
		why := refused.Why[:min(len(refused.Why), maxAnswer-1)]
		b := appendMessage(nil, msgRefused, 1+len(why))
		return append(append(b, refused.Alert), why...)
	}
	return appendMessage(nil, msgNo, 0)
}

// readAnswer reads an answer: of YES the host, else what encodeNo was given, or another
// error.
func readAnswer(r io.Reader) (h relay.Host, err error) {
	m, n, err := readHead(r)
	if err != nil {
		return h, err
	}
	if n > maxAnswer {
		return h, fmt.Errorf("%w: an answer of %d bytes", errHopProtocol, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, socket.NoEOF(err)
	}
	switch {
	case m == msgYes && n == yesSize:
		return parseYes(b), nil
	case m == msgNo && n == 0:
		return h, relay.ErrNotThere
	case m == msgRefused && n > 0:
		return h, &relay.HopRefused{Alert: b[0], Why: string(b[1:])}
	}
	return h, fmt.Errorf("%w: answer %d of %d bytes", errHopProtocol, m, n)
}

// readHead reads what is in front of a message. Without a byte of it the error is io.EOF.
func readHead(r io.Reader) (m hopMessage, n int, err error) {
	var head [hopHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	return hopMessage(head[0]), int(head[1])<<16 | int(head[2])<<8 | int(head[3]), nil
}
