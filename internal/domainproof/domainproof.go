// Package domainproof reads from DNS which devices a custom domain belongs to. A
// domain says so in one of two ways:
//
//   - a TXT record of _keystay.app.example.com holds keystay= and the label made
//     from the device's key, see [Record]; there may be several, one for each device;
//   - app.example.com is a CNAME, perhaps over others, to that label below the
//     relay's own name.
//
// The relay asks before it grants a name, and the remote to show what is missing. It
// also reads which CAs, and which accounts there, may issue certificates for a name, see
// [Resolver.CAA].
package domainproof

import (
	"slices"
	"strings"

	"keystay/internal/keyname"
)

const (
	// Prefix is the label below a domain where its TXT records are, with the dot.
	Prefix = "_keystay."

	// key begins the text of a record.
	key = "keystay"

	// maxText is how many bytes of a TXT record are looked at: more than any
	// spelling of a record of ours has.
	maxText = 256
)

// Owner returns the name that the TXT records of a domain stand at.
func Owner(domain string) string { return Prefix + domain }

// Record returns the text of the TXT record that names a device, by the label made
// from its key.
func Record(label string) string { return key + "=" + label }

// Target returns where a CNAME of a domain leads that names a device, by the label
// made from its key: its name below the relay's own.
func Target(label, zone string) string { return label + "." + zone }

// Parse returns the label that the text of a TXT record holds: keystay=, and the 32
// characters of a label made from a key. Case does not count, nor do quotes around
// all of it, as some forms of DNS providers keep them, nor space around it or at
// the equals sign. Any other text is somebody else's.
func Parse(text string) (label string, ok bool) {
	if len(text) > maxText {
		return "", false
	}
	text = strings.TrimSpace(text)
	if inner, open := strings.CutPrefix(text, `"`); open {
		if text, ok = strings.CutSuffix(inner, `"`); !ok {
			return "", false
		}
	}
	k, label, _ := strings.Cut(strings.ToLower(text), "=")
	label = strings.TrimSpace(label)
	if strings.TrimSpace(k) != key || !keyname.Is(label) {
		return "", false
	}
	return label, true
}

// labelIn returns the label of a name directly below zone, if it is one made from a
// key.
func labelIn(name, zone string) (label string, ok bool) {
	label, ok = strings.CutSuffix(name, "."+zone)
	return label, ok && keyname.Is(label)
}

// A Named is a device that DNS names for a domain.
type Named struct {
	Label string // made from its key
	Via   string // the kind of the record: "txt" or "cname"

	// Authenticated says that the resolver has checked the signatures of all that
	// led here (the AD bit, RFC 4035, section 3.2.3). It means as much as the
	// resolver and the way to it can be trusted.
	Authenticated bool
}

// join puts a device into a list in which each is once: the TXT record counts
// before the CNAME.
func join(list []Named, n Named) []Named {
	if slices.ContainsFunc(list, func(other Named) bool { return other.Label == n.Label }) {
		return list
	}
	return append(list, n)
}
