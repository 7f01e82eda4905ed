package names

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"keystay/internal/hostname"
)

// reservedLabels are labels that mean something to programs, or to people, and
// speak for the whole zone: whoever has one of them could take the zone's mail
// settings, its keys, or the trust in its operator. Each is reserved with a number
// after it, too: www2, mx01, ns10, smtp-1.
var reservedLabels = []string{
	// Programs look there without being asked.
	"autoconfig", "autodiscover", // settings of mail programs
	"enterpriseenrollment", "enterpriseregistration", "lyncdiscover", "msoid", // Microsoft's discovery
	"isatap", "wpad", // Windows looks for a tunnel, and for a proxy
	"localhost", "localdomain", "broadcasthost",
	"mta-sts",    // RFC 8461, section 3.3
	"openpgpkey", // the Web Key Directory, draft-koch-openpgp-webkey-service
	// Services of the zone itself.
	"caldav", "carddav", "cpanel", "dns", "ftp", "imap", "imaps", "kerberos", "ldap", "ldaps", "mail", "mx", "news", "ns", "ntp",
	"pop", "pop3", "pop3s", "pops", "sip", "sips", "smtp", "smtps", "ssh", "stun", "turn", "vpn", "webmail", "whm", "whois", "www", "xmpp",
	"ca", "crl", "ocsp", "pki", // its certificates
	// RFC 2142, and who else seems to speak for the operator.
	"abuse", "hostmaster", "mailer-daemon", "no-reply", "noc", "noreply", "postmaster", "security", "usenet", "webmaster",
	"account", "accounts", "admin", "administrator", "api", "auth", "billing", "help", "id", "info", "keystay", "login", "oauth", "official",
	"pay", "payment", "relay", "root", "secure", "signin", "signup", "sso", "ssladmin", "ssladministrator", "sslwebmaster",
	"static", "status", "support", "sysadmin", "system",
}

// builtIn reports whether a label, directly below the zone, is one that no policy
// gives out unless the operator says so.
func builtIn(label string) bool {
	stem := strings.TrimSuffix(strings.TrimRight(label, "0123456789"), "-")
	return slices.Contains(reservedLabels, label) || slices.Contains(reservedLabels, stem)
}

// whyReserved says why name, below the zone, is given out only for a token that has
// it in full, or returns nothing.
func (n *Names) whyReserved(r *Rules, name string) string {
	const why = "this name is reserved: it takes a token of the relay's operator that has the very name"
	label := lastLabel(name, n.zone)
	if builtIn(label) {
		return why
	}
	for _, s := range r.Static {
		if s = strings.TrimPrefix(s, "*."); name == s || hostname.IsBelow(name, s) || hostname.IsBelow(s, name) {
			return why
		}
	}
	for _, p := range r.Reserved {
		if matches(p, name, n.zone) {
			return why
		}
	}
	if list := n.reserved.Load(); list != nil {
		for _, p := range *list {
			if matches(p, name, n.zone) {
				return why
			}
		}
	}
	if like := lookAlike(label, n.zone); like != "" {
		return "this name looks like " + like + ", which is reserved: it takes a token of the relay's operator that has the very name"
	}
	return ""
}

// isStatic reports whether the operator serves name itself.
func (n *Names) isStatic(name string) bool {
	return slices.ContainsFunc(n.InForce().Static, func(s string) bool {
		base, all := strings.CutPrefix(s, "*.")
		return name == s || all && hostname.IsBelow(name, base)
	})
}

// lastLabel is the label of name directly below the zone.
func lastLabel(name, zone string) string {
	label := strings.TrimSuffix(name, "."+zone)
	return label[strings.LastIndexByte(label, '.')+1:]
}

// matches reports whether a pattern of hostname.Pattern is for name, or for one above
// it.
func matches(pattern, name, zone string) bool {
	labels := strings.Split(strings.TrimSuffix(name, "."+zone), ".")
	parts := strings.Split(strings.TrimSuffix(pattern, "."+zone), ".")
	if len(parts) > len(labels) {
		return false
	}
	labels = labels[len(labels)-len(parts):]
	for i, p := range parts {
		if !matchLabel(p, labels[i]) {
			return false
		}
	}
	return true
}

// matchLabel reports whether a pattern is for one label. A star in it stands for any
// characters, also for none.
func matchLabel(pattern, label string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == label
	}
	label, ok := strings.CutPrefix(label, first)
	if !ok {
		return false
	}
	for i := 0; i <= len(label); i++ {
		if matchLabel(rest, label[i:]) {
			return true
		}
	}
	return false
}

// A Reservation is a pattern of names that the operator keeps.
type Reservation struct {
	Pattern string    `json:"pattern"`
	Note    string    `json:"note,omitempty"`
	Since   time.Time `json:"since"`
}

// maxReserved is how many patterns the record keeps: each new name is compared with
// all of them.
const maxReserved = 1000

// Reserve keeps the names that a pattern matches: none of them is given out any
// more, but for a token that has the very name. Whoever has one keeps it.
func (n *Names) Reserve(pattern, note string) (r Reservation, err error) {
	if pattern, err = hostname.Pattern(pattern, n.zone); err != nil {
		return r, err
	}
	err = n.update(func(l *ledger) error {
		if l.Count(tableReserved) >= maxReserved && l.Get(tableReserved, []byte(pattern)) == nil {
			return fmt.Errorf("there are %d patterns already: take some away", maxReserved)
		}
		r = Reservation{Pattern: pattern, Note: note, Since: l.Now()}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return l.Set(tableReserved, []byte(pattern), b)
	})
	return r, err
}

// Unreserve takes a pattern away that Reserve has added. The error wraps ErrNone when
// there is no such one.
func (n *Names) Unreserve(pattern string) error {
	pattern, err := hostname.Pattern(pattern, n.zone)
	if err != nil {
		return err
	}
	return n.update(func(l *ledger) error {
		if l.Get(tableReserved, []byte(pattern)) == nil {
			return fmt.Errorf("a pattern %s: %w", pattern, ErrNone)
		}
		return l.Set(tableReserved, []byte(pattern), nil)
	})
}

// Reservations returns the patterns of the record, in their order.
func (n *Names) Reservations() (list []Reservation, err error) {
	err = n.view(func(l *ledger) error {
		for _, v := range l.From(tableReserved, nil) {
			var r Reservation
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("%w: a pattern cannot be read", ErrDamaged)
			}
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// loadReserved reads the patterns. While they cannot be read, those from before
// hold.
func (n *Names) loadReserved() {
	n.loading.Lock()
	defer n.loading.Unlock()
	list, err := n.Reservations()
	if err != nil {
		return
	}
	patterns := make([]string, len(list))
	for i, r := range list {
		patterns[i] = r.Pattern
	}
	n.reserved.Store(&patterns)
}
