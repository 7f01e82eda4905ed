package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"keystay/framing"
	"keystay/internal/placing"
	"keystay/relay"
)

const (
	// ProtocolNode is the ALPN name of the connection between two nodes.
	ProtocolNode = "keystay-node/1"
	// minor is the version within that.
	minor = 0
	// maxRecord is the longest body of a record, in bytes.
	maxRecord = 64 << 10
	// recordHead is a record's type, and the length of its body in three bytes.
	recordHead = 4
	// maxName is the longest name, in bytes.
	maxName = 253
	// maxRuns is how many runs, which are replicas, one name may have on a node: an
	// identity has no more links there.
	maxRuns = 64
	// maxHints is how many hints a cut has.
	maxHints = 16
)

// A kind is the type of a record. A peer skips those from skippable on that it does not
// know.
type kind uint8

const (
	kindHello kind = 1 + iota
	kindRefused
	kindUp
	kindDown
	kindCurrent
	kindPing
	kindPong
	kindCut
	kindOrder
	kindAnswer
	kindTurn

	skippable kind = 0x80
)

// errProtocol is wrapped by the errors of bytes that a node does not send.
var errProtocol = errors.New("not the protocol of nodes")

func violation(what string) error { return fmt.Errorf("%w: %s", errProtocol, what) }

// readRecord reads a record into buf, which has room for maxRecord bytes.
func readRecord(r io.Reader, buf []byte) (k kind, body []byte, err error) {
	if _, err := io.ReadFull(r, buf[:recordHead]); err != nil {
		return 0, nil, err
	}
	head := binary.BigEndian.Uint32(buf)
	k, n := kind(head>>24), int(head&0xffffff)
	if n > maxRecord {
		return k, nil, violation("a record is too long")
	}
	if _, err = io.ReadFull(r, buf[:n]); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return k, buf[:n], err
}

// record returns a record with a body that add writes.
func record(k kind, add func(*cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 64))
	b.AddUint8(uint8(k))
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { add(b) })
	return b.BytesOrPanic()
}

func addText8(b *cryptobyte.Builder, s string) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func addText16(b *cryptobyte.Builder, s string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func readText8(s *cryptobyte.String, out *string) bool {
	var t cryptobyte.String
	ok := s.ReadUint8LengthPrefixed(&t)
	*out = string(t)
	return ok
}

func readText16(s *cryptobyte.String, out *string) bool {
	var t cryptobyte.String
	ok := s.ReadUint16LengthPrefixed(&t)
	*out = string(t)
	return ok
}

// readName reads a name, which is visible ASCII.
func readName(s *cryptobyte.String, out *string) bool {
	if !readText8(s, out) || *out == "" || len(*out) > maxName {
		return false
	}
	for _, c := range []byte(*out) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func addRun(b *cryptobyte.Builder, r framing.Run) {
	b.AddUint64(r.Number)
	b.AddBytes(r.ID[:])
}

func readRun(s *cryptobyte.String, r *framing.Run) bool {
	return s.ReadUint64(&r.Number) && s.CopyBytes(r.ID[:])
}

// A hello is the first record of either side.
type hello struct {
	minor uint8
	node  string
	epoch uint64
	agent string // program and version, for people
}

func (h *hello) record() []byte {
	return record(kindHello, func(b *cryptobyte.Builder) {
		b.AddUint8(h.minor)
		addText8(b, h.node)
		b.AddUint64(h.epoch)
		addText8(b, h.agent)
	})
}

func parseHello(p []byte) (h hello, err error) {
	s := cryptobyte.String(p)
	if !s.ReadUint8(&h.minor) || !readText8(&s, &h.node) || !s.ReadUint64(&h.epoch) || !readText8(&s, &h.agent) {
		return hello{}, violation("a broken HELLO")
	}
	if !placing.IsName(h.node) {
		return hello{}, violation("a HELLO without a node's name")
	}
	return h, nil // what follows is of a later minor version
}

// A refusal is why a node is not let in.
type refusal struct {
	code refusalCode
	text string
}

type refusalCode uint8

const (
	refusedTaken   refusalCode = 1 // another machine is the node of that name
	refusedOlder   refusalCode = 2 // a later process of the node is connected
	refusedItself  refusalCode = 3 // it has the name of this very node
	refusedForeign refusalCode = 4 // its certificate is for another name
)

func (r *refusal) Error() string { return "the other node refuses this one: " + r.text }

func (r *refusal) record() []byte {
	return record(kindRefused, func(b *cryptobyte.Builder) {
		b.AddUint8(uint8(r.code))
		addText8(b, r.text[:min(len(r.text), 255)])
	})
}

func parseRefused(p []byte) (*refusal, error) {
	s, r := cryptobyte.String(p), &refusal{}
	if !s.ReadUint8((*uint8)(&r.code)) || !readText8(&s, &r.text) {
		return nil, violation("a broken REFUSED")
	}
	return r, nil
}

// addUp adds one name to an UP.
func addUp(b *cryptobyte.Builder, at *relay.Presence) {
	addText8(b, at.Name)
	var flags uint8
	if at.Replica {
		flags = 1
	}
	b.AddUint8(flags)
	b.AddBytes(at.Key)
	runs := at.Runs[:min(len(at.Runs), maxRuns)]
	b.AddUint8(uint8(len(runs)))
	for _, r := range runs {
		addRun(b, r)
	}
}

// keySize is the length of an identity's public key.
const keySize = 32

// parseUp calls f for each name of an UP. What f gets it may keep.
func parseUp(p []byte, f func(relay.Presence)) error {
	s := cryptobyte.String(p)
	for !s.Empty() {
		var at relay.Presence
		var flags, n uint8
		key := make([]byte, keySize)
		if !readName(&s, &at.Name) || !s.ReadUint8(&flags) || !s.CopyBytes(key) || !s.ReadUint8(&n) || n == 0 || n > maxRuns {
			return violation("a broken UP")
		}
		at.Key, at.Replica = key, flags&1 != 0
		if n > 1 && !at.Replica {
			return violation("several runs that are no replicas")
		}
		at.Runs = make([]framing.Run, n)
		for i := range at.Runs {
			if !readRun(&s, &at.Runs[i]) {
				return violation("a broken UP")
			}
		}
		f(at)
	}
	return nil
}

// parseDown calls f for each name of a DOWN.
func parseDown(p []byte, f func(name string)) error {
	s := cryptobyte.String(p)
	for !s.Empty() {
		var name string
		if !readName(&s, &name) {
			return violation("a broken DOWN")
		}
		f(name)
	}
	return nil
}

// A ping asks for a sign of life, and says how much its sender has to do.
type ping struct {
	sent uint64 // by the sender's clock, in nanoseconds; it comes back
	load Load
}

func (g *ping) record() []byte {
	return record(kindPing, func(b *cryptobyte.Builder) {
		b.AddUint64(g.sent)
		b.AddUint32(uint32(g.load.Links))
		b.AddUint32(uint32(g.load.Visitors))
		b.AddUint16(g.load.Permille)
		var flags uint8
		if g.load.Leaves {
			flags = 1
		}
		b.AddUint8(flags)
	})
}

func parsePing(p []byte) (g ping, err error) {
	s := cryptobyte.String(p)
	var links, visitors uint32
	var flags uint8
	if !s.ReadUint64(&g.sent) || !s.ReadUint32(&links) || !s.ReadUint32(&visitors) || !s.ReadUint16(&g.load.Permille) || !s.ReadUint8(&flags) {
		return ping{}, violation("a broken PING")
	}
	g.load.Links, g.load.Visitors, g.load.Leaves = int(links), int(visitors), flags&1 != 0
	return g, nil
}

func pong(sent uint64) []byte {
	return record(kindPong, func(b *cryptobyte.Builder) { b.AddUint64(sent) })
}

func parsePong(p []byte) (sent uint64, err error) {
	if s := cryptobyte.String(p); !s.ReadUint64(&sent) {
		return 0, violation("a broken PONG")
	}
	return sent, nil
}
