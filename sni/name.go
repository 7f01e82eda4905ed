package sni

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

const (
	// MaxName is the most bytes that a name may have (RFC 1035, section
	// 2.3.4, less the root label and the length bytes): 253.
	MaxName = 253

	// MaxLabel is the most bytes that a label may have: 63.
	MaxLabel = 63
)

// ErrInvalidName is wrapped by the errors of Normalize.
var ErrInvalidName = errors.New("sni: invalid name")

// Normalize returns the host name that name, from a ClientHello or from
// configuration, stands for: in lower case and without the one trailing dot
// that it may have. Two names are the same if their normal forms are.
//
// A valid name has 1 to 253 bytes, in labels of 1 to 63 letters, digits and
// hyphens with none of these last at either end (RFC 5890, section 2.3.1).
// A label that begins with "xn--" must be an A-label: the Punycode of a label
// that UTS 46 allows. A name that ends in a number is refused, since resolvers
// and browsers take it for an IPv4 address in one of its many spellings
// (192.0.2.1, 0xc0000201, 192.513); IPv6 addresses have no form as a name.
//
// The error wraps ErrInvalidName, says why, and does not quote the name, which
// may be anything.
func Normalize(name []byte) (string, error) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	switch {
	case len(name) == 0:
		return "", fmt.Errorf("%w: empty", ErrInvalidName)
	case len(name) > MaxName:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalidName, MaxName)
	}
	var lower [MaxName]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	s := string(lower[:len(name)])
	var last string
	for label := range strings.SplitSeq(s, ".") {
		if why := checkLabel(label); why != "" {
			return "", fmt.Errorf("%w: %s", ErrInvalidName, why)
		}
		last = label
	}
	if isNumber(last) {
		return "", fmt.Errorf("%w: an IP address", ErrInvalidName)
	}
	return s, nil
}

// checkLabel returns what is wrong with a label, in lower case, or "".
func checkLabel(label string) string {
	switch {
	case label == "":
		return "empty label"
	case len(label) > MaxLabel:
		return fmt.Sprintf("label longer than %d bytes", MaxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return "label begins or ends with a hyphen"
	}
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "not only letters, digits and hyphens"
		}
	}
	if strings.HasPrefix(label, "xn--") && !isALabel(label) {
		return "label is not valid Punycode of an international name"
	}
	return ""
}

// isALabel reports whether label, which begins with "xn--", decodes to a label
// that UTS 46 allows. The decoder takes no second spelling of one.
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
