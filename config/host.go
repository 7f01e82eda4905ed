package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// The limits of a host name in its text form (RFC 1035, section 2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// hostName returns the host name that was typed, in lower case, without a
// trailing dot, with the labels of other scripts as A-labels (RFC 5890). It
// refuses addresses, wildcards, names of one label, and what is no letter,
// digit or hyphen.
func hostName(s string) (string, error) {
	if s == "" {
		return "", errors.New("empty")
	}
	if len(s) > 4*maxName { // UTF-8 has up to 4 bytes for a character
		return "", fmt.Errorf("%s is longer than %d characters", quote(s), maxName)
	}
	name := s
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		// Lookup refuses hyphens in places where names in use have them; only
		// names that need the conversion go through it.
		ascii, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return "", fmt.Errorf("%s is no host name", quote(s))
		}
		name = ascii
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", fmt.Errorf("%s is an address, not a name", quote(s))
	}
	if len(name) > maxName {
		return "", fmt.Errorf("%s is longer than %d characters", quote(s), maxName)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", fmt.Errorf("%s is no host name: %w", quote(s), err)
		}
	}
	last := labels[len(labels)-1]
	if len(labels) < 2 {
		return "", fmt.Errorf("%s has no dot", quote(s))
	}
	if isNumber(last) {
		return "", fmt.Errorf("%s is no host name: it ends in a number", quote(s))
	}
	return name, nil
}

// isNumber reports whether a name that ends in this label is read as an IPv4
// address by browsers and resolvers: 1.2.3, 0x7f.1.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// isALabel reports whether a label that begins with "xn--" is what some label
// of another script becomes.
func isALabel(label string) bool {
	u, err := idna.Lookup.ToUnicode(label)
	if err != nil {
		return false
	}
	a, err := idna.Lookup.ToASCII(u)
	return err == nil && a == label && u != label
}

// checkLabel says what is wrong with one part of a name in lower case.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("a part of it is empty")
	case len(label) > maxLabel:
		return fmt.Errorf("a part of it is longer than %d characters", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a part of it begins or ends with a hyphen")
	}
	for i := range len(label) {
		if c := label[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return fmt.Errorf("%q cannot be in it", c)
		}
	}
	if strings.HasPrefix(label, "xn--") && !isALabel(label) {
		return errors.New("a part of it is no valid Punycode")
	}
	return nil
}

// domain checks and normalises a host name.
func (e *Errors) domain(key string, name *string) {
	normal, err := hostName(*name)
	if err != nil {
		var hints []string
		if _, rest, ok := strings.Cut(*name, "://"); ok {
			rest, _, _ = strings.Cut(rest, "/")
			hints = append(hints, "only the name: "+rest)
		}
		e.add(key, err.Error(), hints...)
		return
	}
	*name = normal
}

// address checks host:port, with an empty host for all addresses of the
// machine if it is to listen, and port 0 for any then.
func (e *Errors) address(key, s string, listen bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		hint := "as in 192.0.2.1:443"
		if _, err := strconv.ParseUint(s, 10, 16); err == nil && listen {
			hint = fmt.Sprintf("did you mean %q?", ":"+s)
		} else if _, err := netip.ParseAddr(s); err == nil {
			hint = fmt.Sprintf("did you mean %q?", net.JoinHostPort(s, "443"))
		} else if _, err := hostName(s); err == nil {
			hint = fmt.Sprintf("did you mean %q?", s+":443")
		}
		e.add(key, quote(s)+" is not host:port", hint)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !listen {
		e.add(key, fmt.Sprintf("%s is no port", quote(port)), "a number from 1 to 65535")
	}
	if host == "" && !listen {
		e.add(key, quote(s)+" names no host")
	}
	if host != "" && !isHost(host) {
		e.add(key, quote(host)+" is no host")
	}
}

// isHost reports whether s can be dialled: an address, or a name as machines
// in a local network have them, with or without a dot.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > maxName {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// httpsURL checks an address of a CA. Empty is fine.
func (e *Errors) httpsURL(key, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		e.add(key, quote(s)+" is no https:// URL", "as in https://acme-v02.api.letsencrypt.org/directory")
	}
}

// email checks a plain mail address. Empty is fine.
func (e *Errors) email(key, s string) {
	if s != "" && !isEmail(s) {
		e.add(key, quote(s)+" is no mail address", "as in ops@relay.net")
	}
}

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

// binding checks what a CA gave out to bind an account to one it knows
// (RFC 8555, section 7.3.4), and drops the padding of the key.
func (e *Errors) binding(kidKey, kid, hmacKey string, hmac *Secret) {
	switch {
	case kid != "" && *hmac == "":
		e.add(hmacKey, "missing", "the CA gives out both, the key id and the key")
	case kid == "" && *hmac != "":
		e.add(kidKey, "missing", "the CA gives out both, the key id and the key")
	}
	trimmed := strings.TrimRight(string(*hmac), "=")
	if _, err := base64.RawURLEncoding.DecodeString(trimmed); err != nil {
		e.add(hmacKey, "the key is not base64url text", "copy it as the CA shows it")
		return
	}
	*hmac = Secret(trimmed)
}
