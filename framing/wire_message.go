package framing

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"keystay/internal/plain"
)

// A Run is one start of a remote's program. The number is kept on the device
// and grows with each start; the id is random.
type Run struct {
	Number uint64
	ID     [16]byte
}

// Replaces reports whether r, arriving now, takes the names of old from it.
// Links of one run stand side by side and replace nothing.
func (r Run) Replaces(old Run) bool { return r != old && r.Number >= old.Number }

// Compare orders the runs of one identity by their number and then by their id, for
// those who may hear of two in either order; it is 0 for one run and itself.
func (r Run) Compare(other Run) int {
	return cmp.Or(cmp.Compare(r.Number, other.Number), bytes.Compare(r.ID[:], other.ID[:]))
}

// Hello is a remote's first record: who it is and the proof of it.
type Hello struct {
	Minor        uint8
	Capabilities uint32
	Key          ed25519.PublicKey // the identity
	Signature    []byte            // see Sign
	Run          Run
	Agent        string // program and version, at most 255 bytes, for people
}

// Welcome is the relay's answer to a Hello that it accepts.
type Welcome struct {
	Minor        uint8
	Capabilities uint32
	PublicPort   uint16 // where visitors reach the relay
	Agent        string // at most 255 bytes
	// Names is how many names this link may hold. Link.Welcome sends MaxNames; a
	// relay of a minor version before 3 does not say it, and its links hold 64.
	Names uint16
}

// A GoAway says that its sender will be gone In some time, and why.
type GoAway struct {
	Code GoAwayCode
	In   time.Duration // whole milliseconds, up to 49 days
	Text string        // at most 1,024 bytes, for people
}

// A GoAwayCode says why a side goes away.
type GoAwayCode uint16

// The reasons of a GoAway.
const (
	GoAwayShutdown GoAwayCode = 0
	GoAwayProtocol GoAwayCode = 1
	GoAwayIdle     GoAwayCode = 2
	GoAwayInternal GoAwayCode = 3
	// GoAwayTakeover: another process of the relay has its address now, so
	// that a new link reaches that one. Dial at once.
	GoAwayTakeover GoAwayCode = 4
)

// A RefusalCode says why a relay refuses a remote.
type RefusalCode uint16

// The reasons of a Refusal.
const (
	RefusedProof   RefusalCode = 1
	RefusedVersion RefusalCode = 2
	RefusedBanned  RefusalCode = 3
	RefusedBusy    RefusalCode = 4
)

// A Refusal is the error of a remote that the relay does not let in.
type Refusal struct {
	Code RefusalCode
	Text string // at most 1,024 bytes, for people
}

func (e *Refusal) Error() string { return "the relay refused this device: " + e.Text }

// Permanent reports whether asking again is of no use.
func (e *Refusal) Permanent() bool { return e.Code >= RefusedProof && e.Code <= RefusedBanned }

// A DenialCode says why a name is not, or no longer, a remote's.
type DenialCode uint16

// The reasons of a Denial.
const (
	DeniedInvalid     DenialCode = 1
	DeniedTaken       DenialCode = 2
	DeniedToken       DenialCode = 3
	DeniedClosed      DenialCode = 4
	DeniedReplaced    DenialCode = 5
	DeniedBanned      DenialCode = 6
	DeniedLimit       DenialCode = 7
	DeniedUnavailable DenialCode = 8
	// DeniedUnproven: the DNS does not say, or not any more, that the domain is
	// this device's.
	DeniedUnproven DenialCode = 9
	// DeniedReleased: the device has given the name back, see Link.Release.
	DeniedReleased DenialCode = 10
	// DeniedHandover: the hand-overs of the claim do not hold, see Handovers.
	DeniedHandover DenialCode = 11
)

// A Denial is the error of a claim that the relay does not grant, or takes back.
type Denial struct {
	Name string
	Code DenialCode
	Text string // at most 1,024 bytes, for people
	// Hint says what to do about it, for people; at most 1,024 bytes. Retry is
	// after how long it is worth to ask again, in whole seconds, and 0 where that
	// is not known. A relay of a minor version before 2 says neither.
	Hint  string
	Retry time.Duration
}

func (e *Denial) Error() string { return fmt.Sprintf("%s: %s", e.Name, e.Text) }

// Permanent reports whether asking again is of no use.
func (e *Denial) Permanent() bool {
	return e.Code >= DeniedInvalid && e.Code <= DeniedBanned || e.Code == DeniedReleased || e.Code == DeniedHandover
}

const (
	maxText  = 1024
	maxAgent = 255
	maxToken = 1024
)

// clip shortens text that is only for people to what its field can carry.
func clip(s string, n int) []byte {
	return []byte(s[:min(len(s), n)])
}

func str8(b *cryptobyte.Builder, s []byte) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s) })
}

func str16(b *cryptobyte.Builder, s []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s) })
}

// encode builds a record from what f adds. The builders above never overflow,
// since every caller clips or checks its strings.
func encode(t recordType, f func(b *cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(uint8(t))
	b.AddUint16LengthPrefixed(f)
	return b.BytesOrPanic()
}

func (h *Hello) record() []byte {
	return encode(recHello, func(b *cryptobyte.Builder) {
		b.AddUint8(h.Minor)
		b.AddUint32(h.Capabilities)
		b.AddBytes(h.Key)
		b.AddBytes(h.Signature)
		b.AddUint64(h.Run.Number)
		b.AddBytes(h.Run.ID[:])
		str8(b, clip(h.Agent, maxAgent))
	})
}

func parseHello(p []byte) (Hello, error) {
	var h Hello
	var key, sig, id, agent []byte
	s := cryptobyte.String(p)
	if !s.ReadUint8(&h.Minor) || !s.ReadUint32(&h.Capabilities) ||
		!s.ReadBytes(&key, ed25519.PublicKeySize) || !s.ReadBytes(&sig, ed25519.SignatureSize) ||
		!s.ReadUint64(&h.Run.Number) || !s.ReadBytes(&id, len(h.Run.ID)) || !readStr8(&s, &agent) {
		return h, protocolErrorf("short HELLO")
	}
	h.Key, h.Signature, h.Agent = key, sig, shown(agent)
	copy(h.Run.ID[:], id)
	return h, nil
}

func (w *Welcome) record() []byte {
	return encode(recWelcome, func(b *cryptobyte.Builder) {
		b.AddUint8(w.Minor)
		b.AddUint32(w.Capabilities)
		b.AddUint16(w.PublicPort)
		str8(b, clip(w.Agent, maxAgent))
		b.AddUint16(w.Names)
	})
}

// oldMaxNames is how many names a link to a relay of a minor version before 3 may
// hold.
const oldMaxNames = 64

func parseWelcome(p []byte) (Welcome, error) {
	w := Welcome{Names: oldMaxNames}
	var agent []byte
	s := cryptobyte.String(p)
	if !s.ReadUint8(&w.Minor) || !s.ReadUint32(&w.Capabilities) || !s.ReadUint16(&w.PublicPort) || !readStr8(&s, &agent) ||
		w.Minor >= 3 && !s.ReadUint16(&w.Names) {
		return w, protocolErrorf("short WELCOME")
	}
	w.Agent = shown(agent)
	return w, nil
}

func (e *Refusal) record() []byte {
	return encode(recRefused, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(e.Code))
		str16(b, clip(e.Text, maxText))
	})
}

func parseRefusal(p []byte) (*Refusal, error) {
	var code uint16
	var text []byte
	s := cryptobyte.String(p)
	if !s.ReadUint16(&code) || !readStr16(&s, &text) {
		return nil, protocolErrorf("short REFUSED")
	}
	return &Refusal{Code: RefusalCode(code), Text: shown(text)}, nil
}

// orderRecord is ORDER or ORDER_TURN: a name and yes or no.
func orderRecord(t recordType, name string, yes bool) []byte {
	return encode(t, func(b *cryptobyte.Builder) {
		str8(b, []byte(name))
		if yes {
			b.AddUint8(1)
		} else {
			b.AddUint8(0)
		}
	})
}

func parseOrder(p []byte) (name string, yes bool, err error) {
	var n []byte
	var y uint8
	s := cryptobyte.String(p)
	if !readStr8(&s, &n) || !s.ReadUint8(&y) {
		return "", false, protocolErrorf("short ORDER or ORDER_TURN")
	}
	return string(n), y != 0, nil
}

func (g *GoAway) record() []byte {
	return encode(recGoAway, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(g.Code))
		b.AddUint32(uint32(max(0, min(g.In.Milliseconds(), 1<<32-1))))
		str16(b, clip(g.Text, maxText))
	})
}

func parseGoAway(p []byte) (GoAway, error) {
	var code uint16
	var ms uint32
	var text []byte
	s := cryptobyte.String(p)
	if !s.ReadUint16(&code) || !s.ReadUint32(&ms) || !readStr16(&s, &text) {
		return GoAway{}, protocolErrorf("short GOAWAY")
	}
	return GoAway{Code: GoAwayCode(code), In: time.Duration(ms) * time.Millisecond, Text: shown(text)}, nil
}

func readStr8(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint8LengthPrefixed((*cryptobyte.String)(out))
}

func readStr16(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint16LengthPrefixed((*cryptobyte.String)(out))
}

// shown makes text from the other side safe to show, cut to the longest that a
// field of this protocol has.
func shown(b []byte) string { return plain.Text(string(b[:min(len(b), maxText)])) }
