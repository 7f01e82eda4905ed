package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
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
	// maxNode is the longest name of a node, in bytes, and maxName that of a name.
	maxNode, maxName = 63, 253
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
	if !IsNode(h.node) {
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

func cutRecord(c *relay.Cut) []byte {
	return record(kindCut, func(b *cryptobyte.Builder) {
		addText8(b, c.Identity)
		addText8(b, c.Name)
		address, addresses := "", ""
		if c.Address.IsValid() {
			address = c.Address.String()
		}
		if c.Addresses.IsValid() {
			addresses = c.Addresses.String()
		}
		addText8(b, address)
		addText8(b, addresses)
		b.AddUint8(uint8(c.Why.Code))
		addText16(b, c.Why.Text)
		hints := c.Why.Hints[:min(len(c.Why.Hints), maxHints)]
		b.AddUint8(uint8(len(hints)))
		for _, h := range hints {
			addText16(b, h)
		}
	})
}

// parseCut reads a CUT: at least one thing is cut, or it would be everything.
func parseCut(p []byte) (c relay.Cut, err error) {
	broken := violation("a broken CUT")
	s := cryptobyte.String(p)
	var address, addresses string
	var code, n uint8
	if !readText8(&s, &c.Identity) || !readText8(&s, &c.Name) || !readText8(&s, &address) || !readText8(&s, &addresses) ||
		!s.ReadUint8(&code) || !readText16(&s, &c.Why.Text) || !s.ReadUint8(&n) || n > maxHints {
		return relay.Cut{}, broken
	}
	for range n {
		var h string
		if !readText16(&s, &h) {
			return relay.Cut{}, broken
		}
		c.Why.Hints = append(c.Why.Hints, h)
	}
	if address != "" {
		if c.Address, err = netip.ParseAddrPort(address); err != nil {
			return relay.Cut{}, broken
		}
	}
	if addresses != "" {
		if c.Addresses, err = netip.ParsePrefix(addresses); err != nil {
			return relay.Cut{}, broken
		}
	}
	if c.Identity == "" && c.Name == "" && address == "" && addresses == "" {
		return relay.Cut{}, violation("a CUT of everything")
	}
	c.Why.Code, c.Elsewhere = names.Code(code), true
	return c, nil
}

// An order is a replica's question for the turn to order a certificate, or its word that
// it has ended.
type order struct {
	id     uint32 // of the question, for its answer
	name   string
	run    framing.Run
	begins bool
}

func (o *order) record() []byte {
	return record(kindOrder, func(b *cryptobyte.Builder) {
		b.AddUint32(o.id)
		addText8(b, o.name)
		addRun(b, o.run)
		var flags uint8
		if o.begins {
			flags = 1
		}
		b.AddUint8(flags)
	})
}

func parseOrder(p []byte) (o order, err error) {
	s := cryptobyte.String(p)
	var flags uint8
	if !s.ReadUint32(&o.id) || !readName(&s, &o.name) || !readRun(&s, &o.run) || !s.ReadUint8(&flags) {
		return order{}, violation("a broken ORDER")
	}
	o.begins = flags&1 != 0
	return o, nil
}

func answer(id uint32, granted bool) []byte {
	return record(kindAnswer, func(b *cryptobyte.Builder) {
		b.AddUint32(id)
		if granted {
			b.AddUint8(1)
		} else {
			b.AddUint8(0)
		}
	})
}

func parseAnswer(p []byte) (id uint32, granted bool, err error) {
	s := cryptobyte.String(p)
	var g uint8
	if !s.ReadUint32(&id) || !s.ReadUint8(&g) {
		return 0, false, violation("a broken ANSWER")
	}
	return id, g == 1, nil
}

// turnRecord says whose turn it is for a name, for how long yet; 0 is that it has ended.
func turnRecord(name string, run framing.Run, left time.Duration) []byte {
	return record(kindTurn, func(b *cryptobyte.Builder) {
		addText8(b, name)
		addRun(b, run)
		b.AddUint32(uint32(max(0, left.Milliseconds())))
	})
}

func parseTurn(p []byte) (name string, run framing.Run, left time.Duration, err error) {
	s := cryptobyte.String(p)
	var ms uint32
	if !readName(&s, &name) || !readRun(&s, &run) || !s.ReadUint32(&ms) {
		return "", run, 0, violation("a broken TURN")
	}
	left = time.Duration(ms) * time.Millisecond
	if left > framing.OrderTime {
		return "", run, 0, violation("a TURN that is too long")
	}
	return name, run, left, nil
}

// IsNode reports whether a text can be the name of a node: 1 to 63 lower-case letters,
// digits, dots and hyphens, beginning and ending with a letter or a digit.
func IsNode(s string) bool {
	for i, c := range []byte(s) {
		inner := (c == '-' || c == '.') && i > 0 && i < len(s)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || inner) {
			return false
		}
	}
	return s != "" && len(s) <= maxNode
}
