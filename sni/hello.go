// Package sni reads the ClientHello at the start of a TLS connection without
// taking part in the handshake: the server name it asks for, the protocols it
// offers, and every byte that was read, so that the connection can be handed
// on untouched. It also sends the alerts that refuse such a connection.
//
// The order of work is [Read] (or [Parse], for bytes already at hand), then
// [Hello.Name] for the name, then either passing [Hello.Raw] and the rest of
// the connection on or [Refuse].
//
// Parse accepts what crypto/tls accepts. Its measure is the moment at which a
// [crypto/tls.Server] calls GetConfigForClient: Parse returns a Hello if and
// only if that would happen, with the same ServerName, with two exceptions.
// A name that ends in dots is accepted here and left to Name, since
// clients do send one; crypto/tls refuses it. And a hello longer than
// [MaxHello] is refused here.
package sni

import (
	"errors"

	"keystay/internal/hostname"
)

var (
	// ErrIncomplete says that the bytes so far are the beginning of a
	// ClientHello and that more are needed to tell.
	ErrIncomplete = errors.New("sni: incomplete ClientHello")

	// ErrNotTLS says that the first bytes are no TLS record that could
	// carry a ClientHello. Such a peer would not understand an alert; see
	// LooksLikeHTTP.
	ErrNotTLS = errors.New("sni: not TLS")

	// ErrMalformed says that the bytes are TLS records, but what they hold
	// is not a well-formed ClientHello. AlertFor has what to answer.
	ErrMalformed = errors.New("sni: malformed ClientHello")

	// ErrTooLarge says that the ClientHello does not end within MaxHello
	// bytes.
	ErrTooLarge = errors.New("sni: ClientHello too large")
)

// Hello is a ClientHello as read from the wire (RFC 8446, section 4.1.2).
// Its slices alias the bytes it was read from, or the message put together
// from them when it came in several records; nothing may be written to them
// while the Hello is in use.
type Hello struct {
	// ServerName is the host_name as it was sent (RFC 6066, section 3):
	// unchecked, in any case, 1 to 65,535 bytes of any value. It is nil if
	// none was sent. Name makes a name of it.
	ServerName []byte

	// Raw holds every byte taken from the connection: the ClientHello with
	// its record headers and whatever came after it.
	Raw []byte

	protocols []byte // RFC 7301, section 3.1: each a length byte and a name
}

// Name returns the name that the hello asks for: in lower case and without the
// one trailing dot that it may have. The error says why ServerName is no host
// name, as where none was sent or an address, and does not repeat it.
func (h *Hello) Name() (string, error) { return hostname.Normalize(h.ServerName) }

// OffersALPN reports whether proto is among the protocols that the client
// offers (RFC 7301, section 3.1).
func (h *Hello) OffersALPN(proto string) bool {
	for list := h.protocols; len(list) > 0; {
		p, rest, ok := cut8(list)
		if ok && string(p) == proto {
			return true
		}
		list = rest
	}
	return false
}

// OnlyALPN reports whether proto is the one protocol that the client offers, as
// acme-tls/1 must be (RFC 8737, section 3).
func (h *Hello) OnlyALPN(proto string) bool {
	p, rest, ok := cut8(h.protocols)
	return ok && string(p) == proto && len(rest) == 0
}

// Parse reads the ClientHello that b begins with, b being the first bytes of
// a connection. The Hello's Raw is always b, also when there is an error.
//
// The error is ErrIncomplete as long as more bytes may still make a
// ClientHello, else ErrNotTLS, ErrMalformed or ErrTooLarge, and no further
// bytes change that. Parse allocates nothing unless the message is spread
// over several records, and then no more than len(b) bytes.
func Parse(b []byte) (Hello, error) {
	var r records
	return parse(&r, b)
}

// parse goes on with the records that r has not seen yet, and once they hold
// the whole message, parses that.
func parse(r *records, b []byte) (Hello, error) {
	h := Hello{Raw: b}
	if err := r.advance(b); err != nil {
		return h, err
	}
	if !h.unmarshal(r.message(b)) {
		return Hello{Raw: b}, errDecode
	}
	return h, nil
}

// helloFixed is the length of what begins every ClientHello message: type (1),
// length (3), legacy_version (2) and random (32).
const helloFixed = 1 + 3 + 2 + 32

// unmarshal parses a whole handshake message of type client_hello and reports
// whether it is well-formed.
func (h *Hello) unmarshal(msg []byte) bool {
	if len(msg) < helloFixed {
		return false
	}
	_, s, ok := cut8(msg[helloFixed:]) // legacy_session_id
	if !ok {
		return false
	}
	suites, s, ok := cut16(s)
	if !ok || len(suites)%2 != 0 {
		return false
	}
	_, s, ok = cut8(s) // legacy_compression_methods
	if !ok {
		return false
	}
	if len(s) == 0 {
		return true // extensions are optional before TLS 1.3
	}
	return isVector16(s) && h.extensions(s[2:])
}

// extensions parses the extensions, each of which may occur only once
// (RFC 8446, section 4.2).
func (h *Hello) extensions(exts []byte) bool {
	var seen typeSet
	for s := exts; len(s) > 0; {
		if len(s) < 2 {
			return false
		}
		typ := be16(s)
		data, rest, ok := cut16(s[2:])
		if !ok || !seen.add(typ) {
			return false
		}
		s = rest
		switch typ {
		case extServerName:
			h.ServerName, ok = hostName(data)
		case extALPN:
			h.protocols, ok = protocolList(data)
		case extPreSharedKey:
			ok = len(s) == 0 && validPreSharedKey(data) // must be the last one
		default:
			ok = validExtension(typ, data)
		}
		if !ok {
			return false
		}
	}
	return !seen.full || distinctTypes(exts)
}

// hostName returns the one name of type host_name in a server_name extension,
// nil if all names are of other types (RFC 6066, section 3).
func hostName(data []byte) (name []byte, ok bool) {
	if !isVector16(data) || len(data) == 2 {
		return nil, false
	}
	for list := data[2:]; len(list) > 0; {
		typ := list[0]
		n, rest, ok := cut16(list[1:])
		if !ok || len(n) == 0 {
			return nil, false
		}
		list = rest
		if typ != 0 {
			continue
		}
		if name != nil {
			return nil, false // two names of one type
		}
		name = n
	}
	return name, true
}

// protocolList returns the ProtocolNameList of an ALPN extension, checked
// (RFC 7301, section 3.1).
func protocolList(data []byte) (protocols []byte, ok bool) {
	if !isVector16(data) || len(data) == 2 {
		return nil, false
	}
	for list := data[2:]; len(list) > 0; {
		p, rest, ok := cut8(list)
		if !ok || len(p) == 0 {
			return nil, false
		}
		list = rest
	}
	return data[2:], true
}
