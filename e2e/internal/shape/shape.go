// Package shape reads what a ClientHello looks like, apart from what is random or
// about the name in it: two hellos of one browser have one shape, and a relay that
// looks at hellos alone can tell clients apart by nothing else.
package shape

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// A Shape is what a ClientHello looks like.
type Shape struct {
	// Lines say all that is compared, one field or extension each, in an order that
	// does not depend on the client's: extensions are sorted.
	Lines []string

	// Order is the order of the extensions, GREASE among them (RFC 8701).
	Order []uint16

	suites, signatures []uint16 // without GREASE
	version            uint16   // the newest that is offered
	named              bool     // it asks for a name
	protocol           string   // the first of ALPN
}

// Extensions that are looked into (IANA, TLS ExtensionType Values).
const (
	extServerName        = 0
	extGroups            = 10
	extSignatures        = 13
	extALPN              = 16
	extPadding           = 21
	extDelegated         = 34
	extSessionTicket     = 35
	extPreSharedKey      = 41
	extVersions          = 43
	extKeyShare          = 51
	extTrustAnchors      = 0xca34
	extEncryptedHello    = 0xfe0d
	handshakeClientHello = 1
	recordHandshake      = 22
)

// Groups of key shares (IANA, TLS Supported Groups), and the length of an X25519 key.
const (
	groupX25519         = 0x001d
	groupX25519MLKEM768 = 0x11ec
	keyX25519           = 32
)

// errHello says that bytes are no ClientHello in one record.
var errHello = errors.New("shape: not a ClientHello in one record")

// Of reads a ClientHello with its record's header, as it is on the wire. It must be
// in one record, as those of browsers are; what comes behind it is passed over.
func Of(wire []byte) (Shape, error) {
	var s Shape
	in := cryptobyte.String(wire)
	var typ, msgType, compression uint8
	var recordVersion, legacy uint16
	var record, msg, session, suites, methods, exts cryptobyte.String
	if !in.ReadUint8(&typ) || typ != recordHandshake || !in.ReadUint16(&recordVersion) || !in.ReadUint16LengthPrefixed(&record) ||
		!record.ReadUint8(&msgType) || msgType != handshakeClientHello || !record.ReadUint24LengthPrefixed(&msg) ||
		!msg.ReadUint16(&legacy) || !msg.Skip(32) || !msg.ReadUint8LengthPrefixed(&session) ||
		!msg.ReadUint16LengthPrefixed(&suites) || !msg.ReadUint8LengthPrefixed(&methods) ||
		!methods.ReadUint8(&compression) || !methods.Empty() || !msg.Empty() && !msg.ReadUint16LengthPrefixed(&exts) {
		return s, errHello
	}
	s.version = legacy
	list, ok := numbers(suites)
	if !ok {
		return s, errHello
	}
	s.suites = withoutGREASE(list)
	s.add("versions of record and hello %04x %04x, session id of %d, compression %d", recordVersion, legacy, len(session), compression)
	s.add("suites %s", words(list))
	for !exts.Empty() {
		var id uint16
		var body cryptobyte.String
		if !exts.ReadUint16(&id) || !exts.ReadUint16LengthPrefixed(&body) {
			return s, errHello
		}
		s.Order = append(s.Order, id)
		if err := s.extension(id, body); err != nil {
			return s, err
		}
	}
	slices.Sort(s.Lines)
	return s, nil
}

func (s *Shape) add(format string, args ...any) {
	s.Lines = append(s.Lines, fmt.Sprintf(format, args...))
}

// extension adds the line of one extension.
func (s *Shape) extension(id uint16, body cryptobyte.String) error {
	if IsGREASE(id) {
		s.add("extension of GREASE: %d bytes", len(body))
		return nil
	}
	line, ok := "", true
	switch id {
	case extServerName:
		s.named = true
	case extGroups, extSignatures, extDelegated:
		var list []uint16
		list, ok = numbers16(&body)
		if id == extSignatures {
			s.signatures = withoutGREASE(list)
		}
		line = words(list)
	case extVersions:
		var inner cryptobyte.String
		var list []uint16
		if ok = body.ReadUint8LengthPrefixed(&inner); ok {
			list, ok = numbers(inner)
		}
		if known := withoutGREASE(list); len(known) > 0 {
			s.version = slices.Max(known)
		}
		line = words(list)
	case extALPN:
		line, ok = protocols(&body)
		s.protocol, _, _ = strings.Cut(line, " ")
	case extKeyShare:
		line, ok = shares(&body)
	case extEncryptedHello:
		line, ok = encrypted(body)
	case extTrustAnchors:
		// Which anchors a browser names changes with each release's root store, not
		// with its shape.
		line, ok = "some", len(body) > 2
	case extPreSharedKey, extPadding, extSessionTicket:
		line = "any" // of sessions from before, and of the name's length
	default:
		line = fmt.Sprintf("%x", []byte(body))
	}
	if !ok {
		return fmt.Errorf("shape: extension %d is malformed", id)
	}
	s.add("extension %04x: %s", id, line)
	return nil
}

// protocols reads the extension ALPN (RFC 7301, section 3.1).
func protocols(body *cryptobyte.String) (line string, ok bool) {
	var list, p cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) {
		return "", false
	}
	var names []string
	for !list.Empty() {
		if !list.ReadUint8LengthPrefixed(&p) {
			return "", false
		}
		names = append(names, string(p))
	}
	return strings.Join(names, " "), true
}

// shares reads the extension key_share (RFC 8446, section 4.2.8).
func shares(body *cryptobyte.String) (line string, ok bool) {
	var list, key cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) {
		return "", false
	}
	var each []string
	var hybrid, alone []byte // the X25519 keys
	for !list.Empty() {
		var group uint16
		if !list.ReadUint16(&group) || !list.ReadUint16LengthPrefixed(&key) {
			return "", false
		}
		each = append(each, fmt.Sprintf("%s of %d", words([]uint16{group}), len(key)))
		switch group {
		case groupX25519MLKEM768:
			hybrid = key[max(0, len(key)-keyX25519):]
		case groupX25519:
			alone = key
		}
	}
	line = strings.Join(each, ", ")
	if hybrid != nil && bytes.Equal(hybrid, alone) {
		line += ", with one key of X25519 for both" // as Firefox and crypto/tls do
	}
	return line, true
}

// encrypted reads the extension encrypted_client_hello (RFC 9849, section 5), which
// is GREASE in every hello here. Chromium chooses one of four lengths for it.
func encrypted(body cryptobyte.String) (line string, ok bool) {
	var kind, config uint8
	var kdf, aead uint16
	var key, payload cryptobyte.String
	if !body.ReadUint8(&kind) || !body.ReadUint16(&kdf) || !body.ReadUint16(&aead) || !body.ReadUint8(&config) ||
		!body.ReadUint16LengthPrefixed(&key) || !body.ReadUint16LengthPrefixed(&payload) {
		return "", false
	}
	size := fmt.Sprintf("%d", len(payload))
	if n := len(payload); n == 144 || n == 176 || n == 208 || n == 240 {
		size = "144, 176, 208 or 240"
	}
	return fmt.Sprintf("kind %d, KDF %d, AEAD any of 1 and 3, key of %d, payload of %s", kind, kdf, len(key), size), aead == 1 || aead == 3
}

// numbers16 reads a list of numbers that begins with its length.
func numbers16(body *cryptobyte.String) (list []uint16, ok bool) {
	var inner cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&inner) {
		return nil, false
	}
	return numbers(inner)
}

func numbers(s cryptobyte.String) (list []uint16, ok bool) {
	for !s.Empty() {
		var n uint16
		if !s.ReadUint16(&n) {
			return nil, false
		}
		list = append(list, n)
	}
	return list, true
}

// IsGREASE reports whether a number is one of those that mean nothing (RFC 8701,
// section 2).
func IsGREASE(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

func withoutGREASE(list []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(list), IsGREASE)
}

// words writes numbers, those of GREASE all alike.
func words(list []uint16) string {
	var each []string
	for _, n := range list {
		w := fmt.Sprintf("%04x", n)
		if IsGREASE(n) {
			w = "GREASE"
		}
		each = append(each, w)
	}
	return strings.Join(each, " ")
}
