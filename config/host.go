package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"keystay/internal/hostname"
)

// hostName returns the normal form of a host name that was typed. It refuses
// addresses and names of one label, which no certificate of a public CA is for.
func hostName(s string) (string, error) {
	if s == "" {
		return "", errors.New("empty")
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return "", fmt.Errorf("%s is an address, not a name", quote(s))
	}
	name, err := hostname.Typed(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s is %w", quote(s), err)
	case !strings.Contains(name, "."):
		return "", fmt.Errorf("%s has no dot", quote(s))
	}
	return name, nil
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
	usual := "443"
	switch {
	case strings.HasPrefix(key, "http_listen"):
		usual = "80"
	case key == "admin.listen":
		usual = "9440"
	case strings.HasPrefix(key, "cluster.") && key != "cluster.public":
		usual = "9441"
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		rest, _, _ = strings.Cut(rest, "/")
		e.add(key, quote(s)+" is not host:port", "without the scheme: "+rest)
		return
	}
	host, port, err := net.SplitHostPort(s)
	switch {
	case key == "admin.listen" && slices.Contains([]string{"off", "no", "none"}, s):
		e.add(key, quote(s)+" is not host:port", `an empty text turns it off: admin: {listen: ""}`)
		return
	case err != nil && listen && s != "" && '0' <= s[0] && s[0] <= '9' && !strings.ContainsAny(s, ".:") && !isPort(s) && s != "0":
		e.add(key, quote(s)+" is no port", "a number from 1 to 65535 behind a colon, as in "+quote(":"+usual))
		return
	}
	if err != nil {
		hint := "as in 192.0.2.1:443"
		if _, err := strconv.ParseUint(s, 10, 16); err == nil && listen {
			hint = fmt.Sprintf("did you mean %q?", ":"+s)
		} else if _, err := netip.ParseAddr(s); err == nil {
			hint = fmt.Sprintf("did you mean %q?", net.JoinHostPort(s, "443"))
			// The last part of ::1:8443 is a part of the address too, unless brackets end it.
			if i := strings.LastIndexByte(s, ':'); i > 0 && isIPv6(s[:i]) && isPort(s[i+1:]) {
				hint = fmt.Sprintf("did you mean %q, or %q?", net.JoinHostPort(s[:i], s[i+1:]), net.JoinHostPort(s, "443"))
			}
		} else if i := strings.LastIndexByte(s, ':'); i > 0 && isIPv6(s[:i]) && isPort(s[i+1:]) {
			hint = fmt.Sprintf("did you mean %q?", net.JoinHostPort(s[:i], s[i+1:]))
		} else if isHost(s) && s != "" {
			hint = fmt.Sprintf("did you mean %q?", s+":"+usual)
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

// isPort reports whether s is a number from 1 to 65535.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// isHost reports whether s can be dialled: an address, or a name as machines
// in a local network have them, with or without a dot.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	if s == "" || len(s) > hostname.Max || isDigits(last) { // no name ends with a number: an address that is none
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

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
// (RFC 8555, section 7.3.4). CAs, and the files and variables that people put
// it into, have it in several forms: the key becomes base64url without padding.
func (e *Errors) binding(kidKey string, kid *string, hmacKey string, hmac *Secret) {
	*kid = unquoted(*kid)
	switch {
	case *kid != "" && *hmac == "":
		e.add(hmacKey, "missing", "the CA gives out both, the key id and the key")
	case *kid == "" && *hmac != "":
		e.add(kidKey, "missing", "the CA gives out both, the key id and the key")
	}
	key := strings.Join(strings.Fields(unquoted(string(*hmac))), "") // it may have been wrapped
	key = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(key, "="))
	if _, err := base64.RawURLEncoding.DecodeString(key); err != nil {
		e.add(hmacKey, "the key is not base64 text", "copy it as the CA shows it")
		return
	}
	*hmac = Secret(key)
}

// unquoted returns s without the space around it, a byte order mark, and the
// quotes that some tools leave in a variable, such as docker --env-file.
func unquoted(s string) string {
	s = strings.TrimSpace(strings.TrimPrefix(s, "\ufeff"))
	for _, q := range []string{`"`, "'"} {
		if inner, ok := strings.CutPrefix(s, q); ok && strings.HasSuffix(inner, q) {
			return strings.TrimSpace(strings.TrimSuffix(inner, q))
		}
	}
	return s
}
