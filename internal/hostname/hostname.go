// Package hostname says what a host name is, for all of keystay: names in
// ClientHellos, in claims, in Host headers, in configuration and in
// certificates.
package hostname

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// Max is the most bytes that a name may have (RFC 1035, section 2.3.4,
	// less the root label and the length bytes): 253.
	Max = 253

	// MaxLabel is the most bytes that a label may have: 63.
	MaxLabel = 63
)

// ErrInvalid is wrapped by the errors of this package. Their texts go on from
// it: "no host name: a part of it is empty".
var ErrInvalid = errors.New("no host name")

// Normalize returns the host name that name stands for: in lower case and
// without the one trailing dot that it may have. Two names are the same if
// their normal forms are.
//
// A valid name has 1 to 253 bytes, in labels of 1 to 63 letters, digits and
// hyphens with none of these last at either end (RFC 5890, section 2.3.1).
// A label that begins with "xn--" must be an A-label: the Punycode of a label
// that UTS 46 allows. A name that ends in a number is refused, since resolvers
// and browsers take it for an IPv4 address in one of its many spellings
// (192.0.2.1, 0xc0000201, 192.513); IPv6 addresses have no form as a name.
//
// The error wraps ErrInvalid, says why, and does not repeat the name, which may
// be anything.
func Normalize(name []byte) (string, error) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	switch {
	case len(name) == 0:
		return "", fmt.Errorf("%w: it is empty", ErrInvalid)
	case len(name) > Max:
		return "", fmt.Errorf("%w: it is longer than %d characters", ErrInvalid, Max)
	}
	var lower [Max]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	s := string(lower[:len(name)])
	var last string
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
		last = label
	}
	if isNumber(last) {
		return "", fmt.Errorf("%w: it ends in a number, as addresses do", ErrInvalid)
	}
	return s, nil
}

// Typed returns the normal form of a name that a person typed. Labels in other
// scripts become A-labels (RFC 5890). The error is like that of Normalize.
func Typed(name string) (string, error) {
	if len(name) > 4*Max { // UTF-8 has up to 4 bytes for a character
		return "", fmt.Errorf("%w: it is longer than %d characters", ErrInvalid, Max)
	}
	if i := strings.IndexFunc(name, isTypographic); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return "", fmt.Errorf("%w: %q cannot be in it", ErrInvalid, r)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		// ToASCII refuses hyphens in places where names in use have them. So
		// only names that need the conversion go through it.
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("%w: a part of it has no form in ASCII", ErrInvalid)
		}
		name = ascii
	}
	return Normalize([]byte(name))
}

// isTypographic reports whether r is one of the quotes and dashes that word processors
// and pages put in the place of ASCII's. No name has one (RFC 5892 disallows them), but
// there are forms of them in ASCII.
func isTypographic(r rune) bool {
	return unicode.In(r, unicode.Pi, unicode.Pf) || r == '\u201a' || r == '\u201e' || r >= '\u2010' && r <= '\u2015'
}

// OfHeader returns the normal form of the host of a Host header field or of the
// :authority of a request in HTTP/2 (RFC 9110, section 7.2): a host name, then
// perhaps a colon and a port of any digits or none. The error is like that of
// Normalize.
func OfHeader(host string) (string, error) {
	name, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" {
		return "", fmt.Errorf("%w: its port is no number", ErrInvalid)
	}
	return Normalize([]byte(name))
}

// checkLabel returns what is wrong with a label in lower case.
func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("%w: a part of it is empty", ErrInvalid)
	case len(label) > MaxLabel:
		return fmt.Errorf("%w: a part of it is longer than %d characters", ErrInvalid, MaxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%w: a part of it begins or ends with a hyphen", ErrInvalid)
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: %q cannot be in it", ErrInvalid, c)
		}
	}
	if strings.HasPrefix(label, "xn--") && !isALabel(label) {
		return fmt.Errorf("%w: a part of it is no valid Punycode", ErrInvalid)
	}
	return nil
}

// isALabel reports whether label, which begins with "xn--", decodes to a label
// that UTS 46 allows. The decoder takes no second spelling of a label.
func isALabel(label string) bool {
	_, err := idna.Lookup.ToUnicode(label)
	return err == nil
}

// isNumber reports whether a label is a number as the WHATWG URL Standard has
// it for the end of an IPv4 address: digits, or 0x and any hex digits.
func isNumber(label string) bool {
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}
