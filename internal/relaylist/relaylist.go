// Package relaylist is a published list of relays: signed JSON, which whoever publishes
// it makes with "relay list sign", and from which a remote takes a relay.
// docs/relay-list.md specifies it.
package relaylist

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/internal/hostname"
)

// The bounds of a list.
const (
	MaxSize       = 256 << 10 // of the document, in bytes
	MaxRelays     = 256
	MaxSignatures = 8
	MaxText       = 256 // of a name, an operator or a region, in bytes
)

const (
	// version is the number in the field keystay_relays.
	version = 1
	// prefix begins what is signed, and nothing else that such a key signs.
	prefix = "keystay-relay-list-v1\x00"
	// timeForm is the one spelling of a time: in UTC, whole seconds (RFC 3339).
	timeForm = "2006-01-02T15:04:05Z"
	// keyPrefix begins the text of a key.
	keyPrefix = "ed25519:"
)

// A Key is the public key of whoever signs a list: Ed25519 (RFC 8032).
type Key [ed25519.PublicKeySize]byte

// KeyOf returns the public half of a key.
func KeyOf(key ed25519.PrivateKey) Key { return Key(key.Public().(ed25519.PublicKey)) }

// String is the text of a key: "ed25519:" and its 32 bytes in base64 (RFC 4648,
// section 4).
func (k Key) String() string { return keyPrefix + base64.StdEncoding.EncodeToString(k[:]) }

// ParseKey reads what String returns.
func ParseKey(s string) (Key, error) {
	text, ok := strings.CutPrefix(s, keyPrefix)
	b, err := exactly(text, ed25519.PublicKeySize)
	if !ok || err != nil {
		return Key{}, fmt.Errorf("this is no key of a list, which is %s and 32 bytes in base64", keyPrefix)
	}
	return Key(b), nil
}

// A List is what a document says. [Parse] makes one.
type List struct {
	Name    string // for people
	Serial  uint64 // a later document of the same publisher has a higher one
	Issued  time.Time
	Expires time.Time
	Relays  []Relay

	signatures []signature
	signed     []byte // the text that is signed
}

// A Relay is an entry of a list.
type Relay struct {
	Address  string // host, or host:port where the port is not 443; in normal form
	Operator string // who runs it, for people; may be empty
	Region   string // where it is, for people; may be empty
}

type signature struct {
	key       Key
	signature []byte
}

// Parse reads a document. Fields that it does not know are passed over, and are signed
// all the same. It looks neither at signatures nor at the time: see [List.SignedBy] and
// [List.Expired].
func Parse(b []byte) (*List, error) {
	doc, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("the list is not the JSON that it should be: %w", err)
	}
	l, err := doc.list()
	if err != nil {
		return nil, fmt.Errorf("the list's %w", err)
	}
	if l.signatures, err = doc.signatures(); err != nil {
		return nil, fmt.Errorf("the list's %w", err)
	}
	l.signed = doc.signed()
	return l, nil
}

// SignedBy reports whether a key has signed the list.
func (l *List) SignedBy(key Key) bool {
	return slices.ContainsFunc(l.signatures, func(s signature) bool {
		return s.key == key && ed25519.Verify(key[:], l.signed, s.signature)
	})
}

// Signers returns the keys that have signed the list, in its order. A signature that does
// not fit counts for nothing.
func (l *List) Signers() (keys []Key) {
	for _, s := range l.signatures {
		if ed25519.Verify(s.key[:], l.signed, s.signature) {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// Expired reports whether the list counts no more.
func (l *List) Expired(now time.Time) bool { return !now.Before(l.Expires) }

// list reads the fields that are known. Each value has one spelling alone.
func (o object) list() (*List, error) {
	l := new(List)
	v, err := o.integer("keystay_relays")
	if err == nil && v != version {
		err = fmt.Errorf("keystay_relays is %d, and this program knows %d", v, version)
	}
	if err != nil {
		return nil, err
	}
	if l.Name, err = o.text("name", true); err != nil {
		return nil, err
	}
	if l.Serial, err = o.integer("serial"); err != nil {
		return nil, err
	}
	if l.Issued, err = o.time("issued"); err != nil {
		return nil, err
	}
	if l.Expires, err = o.time("expires"); err != nil {
		return nil, err
	}
	if !l.Expires.After(l.Issued) {
		return nil, errors.New("expires is not after issued")
	}
	l.Relays, err = o.relays()
	return l, err
}

// relays reads the entries.
func (o object) relays() ([]Relay, error) {
	list, ok := o["relays"].([]any)
	if !ok || len(list) == 0 || len(list) > MaxRelays {
		return nil, fmt.Errorf("relays is no list of 1 to %d relays", MaxRelays)
	}
	var all []Relay
	for i, v := range list {
		entry, ok := v.(object)
		if !ok {
			return nil, fmt.Errorf("relays[%d] is no object", i)
		}
		r, err := entry.relay()
		if err != nil {
			return nil, fmt.Errorf("relays[%d].%w", i, err)
		}
		if slices.ContainsFunc(all, func(o Relay) bool { return o.Address == r.Address }) {
			return nil, fmt.Errorf("relays[%d].relay is there twice", i)
		}
		all = append(all, r)
	}
	return all, nil
}

func (o object) relay() (r Relay, err error) {
	if r.Address, err = o.text("relay", true); err != nil {
		return r, err
	}
	if normal, err := Address(r.Address); err != nil || normal != r.Address {
		return r, errors.New("relay is no host or host:port in normal form")
	}
	if r.Operator, err = o.text("operator", false); err != nil {
		return r, err
	}
	r.Region, err = o.text("region", false)
	return r, err
}

// Address returns the normal form of a relay's address, host or host:port: the name in
// that of package hostname, and no port where it is 443.
func Address(s string) (string, error) {
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", errors.New("its port is no number from 1 to 65535")
		}
		host, port = h, strconv.FormatUint(n, 10)
	}
	name, err := hostname.Typed(host)
	switch {
	case err != nil:
		return "", err
	case !strings.Contains(name, "."):
		return "", errors.New("its name has no dot")
	case port == "" || port == "443":
		return name, nil
	}
	return net.JoinHostPort(name, port), nil
}

// signatures reads who says to have signed the document.
func (o object) signatures() ([]signature, error) {
	list, ok := o["signatures"].([]any)
	if !ok || len(list) == 0 || len(list) > MaxSignatures {
		return nil, fmt.Errorf("signatures is no list of 1 to %d signatures", MaxSignatures)
	}
	var all []signature
	for i, v := range list {
		entry, _ := v.(object)
		key, err := entry.text("key", true)
		if err != nil {
			return nil, fmt.Errorf("signatures[%d].%w", i, err)
		}
		var s signature
		if s.key, err = ParseKey(key); err != nil {
			continue // of another kind, which this program cannot check
		}
		text, err := entry.text("signature", true)
		if err == nil {
			s.signature, err = exactly(text, ed25519.SignatureSize)
		}
		if err != nil {
			return nil, fmt.Errorf("signatures[%d].signature is no Ed25519 signature", i)
		}
		all = append(all, s)
	}
	return all, nil
}

// signed is the text that is signed.
func (o object) signed() []byte {
	rest := make(object, len(o))
	for name, v := range o {
		if name != "signatures" {
			rest[name] = v
		}
	}
	return appendValue([]byte(prefix), rest)
}

// exactly decodes base64 of n bytes, in its one spelling.
func exactly(s string, n int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != n || base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("it is not %d bytes in base64", n)
	}
	return b, nil
}
