package framing

import (
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"keystay/internal/hostname"
	"keystay/internal/plain"
)

// A Claim asks for a name.
type Claim struct {
	Name  string // in lower case, at most 253 bytes
	Token string // may be empty, at most 1,024 bytes
	// Replica lets the run serve the name beside other replicas of the same
	// identity. A relay of minor version 0 knows no replicas.
	Replica bool
	// Certified says that the remote has a valid certificate for the name, and so
	// orders no first one. A relay of a minor version before 2 does not know it.
	Certified bool
	// Rules say which visitors the name is for. A relay of a minor version before
	// 2 knows no rules: it passes all visitors on.
	Rules
	// Handovers give what earlier identities of this device have at the relay to the
	// identity of the link, before the claim is decided about. A relay of a minor
	// version before 3 does not see them: it takes the device for another one. A relay
	// gets them without the new keys and not verified: see Handovers.For and Verify.
	Handovers Handovers
	// Word is what the label of the name is made of beside the identity's key, at
	// most 255 bytes; empty for the label of the key alone, and for any other name.
	// A relay of a minor version before 3 knows no words.
	Word string
	// Siblings are the names of the other relays that serve the name, to which this one
	// may pass its visitors on while the device is away here, and which may pass theirs on
	// to this one; at most MaxSiblings. A relay of a minor version before 4 knows none.
	Siblings []string
}

// MaxSiblings is how many siblings one claim may name.
const MaxSiblings = 8

// maxWord is the longest word of a claim, in bytes.
const maxWord = 255

// The bits of CLAIM's flags.
const (
	flagReplica   = 1
	flagCertified = 2 // since minor 2
)

// record encodes c for a relay of the given minor version.
func (c *Claim) record(minor uint8) []byte {
	return encode(recClaim, func(b *cryptobyte.Builder) {
		str8(b, []byte(c.Name))
		str16(b, []byte(c.Token))
		var flags uint8
		if c.Replica {
			flags |= flagReplica
		}
		if c.Certified {
			flags |= flagCertified
		}
		b.AddUint8(flags)
		b.AddUint16LengthPrefixed(c.Rules.add)
		b.AddUint16LengthPrefixed(c.Handovers.add)
		str8(b, []byte(c.Word))
		if minor >= siblingsMinor { // to an older one it would be too long
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, name := range c.Siblings {
					str8(b, []byte(name))
				}
			})
		}
	})
}

// siblingsMinor is the first minor version that knows the siblings of a claim.
const siblingsMinor = 4

// parseClaim decodes a CLAIM of a remote of the given minor version.
func parseClaim(p []byte, minor uint8) (c Claim, err error) {
	var n, t, rules, handovers, word, siblings []byte
	var flags uint8
	s := cryptobyte.String(p)
	// The first relays took a CLAIM of minor version 1 without flags, too.
	if !readStr8(&s, &n) || !readStr16(&s, &t) ||
		minor >= 1 && !s.ReadUint8(&flags) && minor > 1 || minor >= 2 && !readStr16(&s, &rules) ||
		minor >= 3 && !(readStr16(&s, &handovers) && readStr8(&s, &word)) ||
		minor >= siblingsMinor && !readStr16(&s, &siblings) {
		return c, protocolErrorf("short CLAIM")
	}
	if len(n) > hostname.Max || len(t) > maxToken {
		return c, protocolErrorf("CLAIM of a name of %d and a token of %d bytes", len(n), len(t))
	}
	c = Claim{Name: string(n), Token: string(t), Replica: flags&flagReplica != 0, Certified: minor >= 2 && flags&flagCertified != 0, Word: string(word)}
	if c.Rules, err = parseRules(rules); err != nil {
		return c, err
	}
	if c.Siblings, err = parseSiblings(siblings); err != nil {
		return c, err
	}
	c.Handovers, err = parseHandovers(handovers)
	return c, err
}

func parseSiblings(p []byte) (list []string, err error) {
	for s := cryptobyte.String(p); !s.Empty(); {
		var name []byte
		if len(list) == MaxSiblings || !readStr8(&s, &name) || len(name) == 0 || len(name) > hostname.Max {
			return nil, protocolErrorf("CLAIM with siblings that are none, or more than %d", MaxSiblings)
		}
		list = append(list, string(name))
	}
	return list, nil
}

// checkSiblings returns an error for names that no claim can carry.
func checkSiblings(list []string) error {
	if len(list) > MaxSiblings {
		return fmt.Errorf("%d siblings, at most %d", len(list), MaxSiblings)
	}
	for _, name := range list {
		if name == "" || len(name) > hostname.Max {
			return fmt.Errorf("a sibling with a name of %d bytes", len(name))
		}
	}
	return nil
}

// A Claimed is a relay's yes to a claim.
type Claimed struct {
	// OrderIn is how long the remote must wait before it orders a new certificate
	// for the name from the relay's usual CA, in whole seconds, up to 136 years;
	// 0 is not at all. A relay of a minor version before 2 leaves it 0. It counts for
	// names below the relay's own alone.
	OrderIn time.Duration
	// Port is the public TCP port that a claim of one was granted, see PortName; 0 for
	// every other claim.
	Port uint16
}

func (c *Claimed) record(name string) []byte {
	return encode(recClaimed, func(b *cryptobyte.Builder) {
		str8(b, []byte(name))
		b.AddUint32(seconds(c.OrderIn))
		if c.Port != 0 {
			b.AddUint16(c.Port)
		}
	})
}

// parseClaimed decodes a CLAIMED of a relay of the given minor version. With ports both
// sides have named CapabilityPorts.
func parseClaimed(p []byte, minor uint8, ports bool) (name string, c Claimed, err error) {
	var n []byte
	var in uint32
	s := cryptobyte.String(p)
	if !readStr8(&s, &n) || minor >= 2 && !s.ReadUint32(&in) {
		return "", c, protocolErrorf("short CLAIMED")
	}
	c.OrderIn = time.Duration(in) * time.Second
	if ports && isPortName(string(n)) && (!s.ReadUint16(&c.Port) || c.Port == 0) {
		return "", c, protocolErrorf("CLAIMED of a port without one")
	}
	return string(n), c, nil
}

// Hints says what to do, in one line.
func (e *Denial) Hints() []string { return []string{e.Hint} }

// record encodes e as DENIED or LOST.
func (e *Denial) record(t recordType) []byte {
	return encode(t, func(b *cryptobyte.Builder) {
		str8(b, clip(e.Name, hostname.Max))
		b.AddUint16(uint16(e.Code))
		str16(b, clip(e.Text, maxText))
		str16(b, clip(e.Hint, maxText))
		b.AddUint32(seconds(e.Retry))
	})
}

// lostRecord encodes e as LOST, in lostSize at most, so that all names of a link can be lost at
// once. A long text is cut, and says so. A hint may be a command, of which no part is told.
func (e *Denial) lostRecord() []byte {
	const head, fields = 3, 1 + 2 + 2 + 2 + 4
	short, room := *e, lostSize-head-fields-min(len(e.Name), hostname.Max)
	short.Text = plain.Cut(e.Text, max(room-len(e.Hint), room/2))
	if len(short.Text)+len(e.Hint) > room {
		short.Hint = ""
	}
	return short.record(recLost)
}

// parseDenial decodes a DENIED or LOST of a relay of the given minor version.
func parseDenial(p []byte, minor uint8) (*Denial, error) {
	var name, text, advice []byte
	var code uint16
	var retry uint32
	s := cryptobyte.String(p)
	if !readStr8(&s, &name) || !s.ReadUint16(&code) || !readStr16(&s, &text) ||
		minor >= 2 && (!readStr16(&s, &advice) || !s.ReadUint32(&retry)) {
		return nil, protocolErrorf("short DENIED or LOST")
	}
	return &Denial{Name: string(name), Code: DenialCode(code), Text: shown(text),
		Hint: shown(advice), Retry: time.Duration(retry) * time.Second}, nil
}

// seconds is d in whole seconds, rounded up, as a field of four bytes holds it.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min((d-1)/time.Second+1, 1<<32-1))
}

// A NotReleased is the error of a name that the relay does not take back.
type NotReleased struct {
	Name  string
	Text  string // at most 1,024 bytes, for people
	Later bool   // the relay could not do it now; else it is a refusal
}

func (e *NotReleased) Error() string { return e.Name + ": " + e.Text }

// The values of RELEASED.
const (
	releaseRefused = 0
	releaseDone    = 1
	releaseNotNow  = 2
)

// nameRecord is RELEASE, UNCLAIM or UNCLAIMED.
func nameRecord(t recordType, name string) []byte {
	return encode(t, func(b *cryptobyte.Builder) { str8(b, []byte(name)) })
}

func parseName(p []byte) (name string, err error) {
	var n []byte
	s := cryptobyte.String(p)
	if !readStr8(&s, &n) {
		return "", protocolErrorf("short RELEASE, UNCLAIM or UNCLAIMED")
	}
	return string(n), nil
}

// releasedRecord is RELEASED; a nil error says that the name was released.
func releasedRecord(name string, not *NotReleased) []byte {
	return encode(recReleased, func(b *cryptobyte.Builder) {
		str8(b, []byte(name))
		switch {
		case not == nil:
			b.AddUint8(releaseDone)
			str16(b, nil)
			return
		case not.Later:
			b.AddUint8(releaseNotNow)
		default:
			b.AddUint8(releaseRefused)
		}
		str16(b, clip(not.Text, maxText))
	})
}

// parseReleased returns nil for a name that was released.
func parseReleased(p []byte) (name string, not *NotReleased, err error) {
	var n, text []byte
	var how uint8
	s := cryptobyte.String(p)
	if !readStr8(&s, &n) || !s.ReadUint8(&how) || !readStr16(&s, &text) {
		return "", nil, protocolErrorf("short RELEASED")
	}
	if how == releaseDone {
		return string(n), nil, nil
	}
	return string(n), &NotReleased{Name: string(n), Text: shown(text), Later: how == releaseNotNow}, nil
}
