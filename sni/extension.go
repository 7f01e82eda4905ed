package sni

// The extensions whose form crypto/tls checks (IANA, TLS ExtensionType Values).
const (
	extServerName           = 0
	extStatusRequest        = 5
	extSupportedGroups      = 10
	extECPointFormats       = 11
	extSignatureAlgorithms  = 13
	extALPN                 = 16
	extSCT                  = 18
	extExtendedMasterSecret = 23
	extPreSharedKey         = 41
	extEarlyData            = 42
	extSupportedVersions    = 43
	extCookie               = 44
	extPSKModes             = 45
	extSignatureAlgsCert    = 50
	extKeyShare             = 51
	extECH                  = 0xfe0d
	extRenegotiationInfo    = 0xff01
)

// validExtension reports whether data has the form that crypto/tls demands of
// an extension of that type. What the relay passes on is what the far end can
// parse; nothing in these extensions is used.
func validExtension(typ uint16, data []byte) bool {
	switch typ {
	case extStatusRequest:
		return validStatusRequest(data)
	case extSupportedGroups, extSignatureAlgorithms, extSignatureAlgsCert: // RFC 8446, 4.2.3, 4.2.7
		return isVector16(data) && len(data) > 2 && len(data)%2 == 0
	case extSupportedVersions: // RFC 8446, section 4.2.1
		return isVector8(data) && len(data) > 1 && len(data)%2 == 1
	case extECPointFormats: // RFC 8422, section 5.1.2
		return isVector8(data) && len(data) > 1
	case extPSKModes, extRenegotiationInfo: // RFC 8446, 4.2.9; RFC 5746, 3.2
		return isVector8(data)
	case extCookie: // RFC 8446, section 4.2.2
		return isVector16(data) && len(data) > 2
	case extSCT, extExtendedMasterSecret, extEarlyData: // flags
		return len(data) == 0
	case extKeyShare:
		return validKeyShare(data)
	case extECH:
		return validECH(data)
	}
	return true
}

// validStatusRequest checks a status_request extension (RFC 6066, section 8).
func validStatusRequest(data []byte) bool {
	if len(data) < 1 {
		return false
	}
	_, s, ok := cut16(data[1:]) // responder_id_list, behind the status_type
	return ok && isVector16(s)  // request_extensions
}

// validKeyShare checks a key_share extension (RFC 8446, section 4.2.8).
func validKeyShare(data []byte) bool {
	if !isVector16(data) {
		return false
	}
	for shares := data[2:]; len(shares) > 0; {
		if len(shares) < 2 {
			return false
		}
		key, rest, ok := cut16(shares[2:]) // behind the group
		if !ok || len(key) == 0 {
			return false
		}
		shares = rest
	}
	return true
}

// validPreSharedKey checks a pre_shared_key extension (RFC 8446, section
// 4.2.11).
func validPreSharedKey(data []byte) bool {
	identities, s, ok := cut16(data)
	if !ok || len(identities) == 0 || !isVector16(s) || len(s) == 2 {
		return false
	}
	for len(identities) > 0 {
		id, rest, ok := cut16(identities)
		if !ok || len(id) == 0 || len(rest) < 4 {
			return false
		}
		identities = rest[4:] // obfuscated_ticket_age
	}
	for binders := s[2:]; len(binders) > 0; {
		binder, rest, ok := cut8(binders)
		if !ok || len(binder) == 0 {
			return false
		}
		binders = rest
	}
	return true
}

// validECH checks an encrypted_client_hello extension (RFC 9849, section 5).
// crypto/tls lets an empty one pass and, as it ignores bytes after the
// payload, so does this.
func validECH(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	const outer, inner = 0, 1
	switch {
	case data[0] == inner:
		return len(data) == 1
	case data[0] != outer || len(data) < 6: // type (1), KDF and AEAD (2 each), config_id (1)
		return false
	}
	_, s, ok := cut16(data[6:]) // encapsulated key
	if !ok {
		return false
	}
	_, _, ok = cut16(s) // payload
	return ok
}

// be16 returns the number in the first two bytes of b, which must be there.
func be16(b []byte) uint16 {
	return uint16(b[0])<<8 | uint16(b[1])
}

// cut8 cuts a vector behind a length byte off the front of b.
func cut8(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 1 || len(b)-1 < int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// cut16 cuts a vector behind a two-byte length off the front of b.
func cut16(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(be16(b))
	b = b[2:]
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// isVector8 reports whether b is a vector behind a length byte, and no more.
func isVector8(b []byte) bool {
	return len(b) >= 1 && len(b)-1 == int(b[0])
}

// isVector16 reports whether b is a vector behind a two-byte length, and no
// more.
func isVector16(b []byte) bool {
	return len(b) >= 2 && len(b)-2 == int(be16(b))
}

// A typeSet holds the extension types seen so far. Nearly all are below 64
// and cost a bit; the few others of an ordinary hello fit in a short list.
type typeSet struct {
	low  uint64
	high [8]uint16 // Chromium 156 sends 6: two GREASE values, renegotiation_info, ECH, ALPS, trust anchors
	n    int
	full bool // there were more than high can hold: not all duplicates were seen
}

// add adds typ and reports whether it is new, as far as the set can tell.
func (t *typeSet) add(typ uint16) bool {
	if typ < 64 {
		bit := uint64(1) << typ
		fresh := t.low&bit == 0
		t.low |= bit
		return fresh
	}
	if t.full {
		return true
	}
	for _, h := range t.high[:t.n] {
		if h == typ {
			return false
		}
	}
	if t.full = t.n == len(t.high); t.full {
		return true
	}
	t.high[t.n] = typ
	t.n++
	return true
}

// distinctTypes reports whether no type occurs twice in exts, which must be
// well-formed. It costs the same for any number of extensions up to the
// 16,383 that fit: 8 KiB of stack to clear and one pass.
func distinctTypes(exts []byte) bool {
	var seen [1 << 16 / 64]uint64
	for len(exts) > 0 {
		typ := be16(exts)
		bit := uint64(1) << (typ % 64)
		if seen[typ/64]&bit != 0 {
			return false
		}
		seen[typ/64] |= bit
		exts = exts[4+int(be16(exts[2:])):]
	}
	return true
}
