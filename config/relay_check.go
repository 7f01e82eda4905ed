package config

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/internal/hostname"
)

// A relayReader reads what is set of a relay, checks it and gathers what is wrong.
type relayReader struct {
	errs     Errors
	warnings []Warning
	relay    *Relay  // what was said, and then what that means
	src      *source // nil where check alone is called
}

// check checks the values of the relay and normalises them. It looks at nothing else, and
// changes no list that it is given.
func (r *relayReader) check() {
	relay := r.relay
	if r.ownName(); len(r.errs) > 0 {
		relay.Domain = "" // nothing can be compared with it
	}
	relay.Listen = trimmed(relay.Listen)
	relay.HTTPListen = trimmed(relay.HTTPListen)
	r.listeners()
	if relay.StateDir == "" {
		r.errs.add("state_dir", "empty", "a folder that the relay may write, as in /var/lib/keystay")
	}
	r.errs.oneOf("names.policy", relay.Names.Policy, "open", "token", "closed")
	r.names()
	r.policy()
	r.tokens()
	if relay.DefaultName != "" {
		r.nameBelow("default_name", &relay.DefaultName)
	}
	relay.Static = slices.Clone(relay.Static)
	r.front()
	r.relayCertificate()
	r.errs.oneOf("reload", relay.Reload, "keep", "takeover")
	r.errs.oneOf("lanes", relay.Lanes, "auto", "off")
	r.errs.oneOf("log.level", relay.Log.Level, "debug", "info", "warn", "error")
	r.errs.oneOf("log.format", relay.Log.Format, "text", "json")
	r.abuse()
	r.adminHosts()
	r.cluster()
	r.warnings = append(r.warnings, unwise(*relay)...)
}

// ownNameHint is what a relay's domain must be.
const ownNameHint = "the relay's own name, as in domain: relay.net or --domain relay.net"

// ownName checks and normalises the relay's domain.
func (r *relayReader) ownName() {
	typed := r.relay.Domain
	if typed == "" {
		r.errs.add("domain", "missing", ownNameHint)
		return
	}
	if r.errs.domain("domain", &r.relay.Domain); len(r.errs) > 0 {
		if wrong := r.errs[0]; len(wrong.Hints) == 0 {
			wrong.Hints = []string{domainHint(typed)}
		}
		return
	}
	if isExample(r.relay.Domain) && r.relay.ACME.CA == "" && r.relay.TLS == (TLS{}) {
		r.errs.add("domain", quote(typed)+" stands in the documents for a domain of your own",
			"put a domain in its place whose DNS is yours: Let's Encrypt is asked for a certificate for it")
	}
}

// isExample reports whether a name is that of the documents or below it, or one
// that nobody can have (RFC 2606, sections 2 and 3).
func isExample(name string) bool {
	for _, base := range []string{"relay.net", "example.com", "example.net", "example.org", "example"} {
		if name == base || hostname.IsBelow(name, base) {
			return true
		}
	}
	return false
}

// domainHint returns what to do about what was typed as the relay's domain, and
// is no host name.
func domainHint(typed string) string {
	if rest, ok := strings.CutPrefix(typed, "*."); ok && isHostName(rest) {
		return "all names below a domain are the relay's anyway: did you mean " + quote(rest) + "?"
	}
	if _, err := netip.ParseAddr(strings.Trim(typed, "[]")); err == nil {
		return "a relay needs a domain whose DNS leads to that address: see deploy/dns-wildcard.md"
	}
	if host, _, err := net.SplitHostPort(typed); err == nil && isHostName(host) {
		return "the port belongs into listen: did you mean " + quote(host) + "?"
	}
	if near := strings.ReplaceAll(strings.TrimSpace(typed), "_", "-"); near != typed && isHostName(near) {
		return "did you mean " + quote(near) + "?"
	}
	if !strings.Contains(typed, ".") {
		return "the whole name of a domain of your own, as in " + quote("relay.net")
	}
	return "letters, digits and hyphens, in parts with dots between them, as in " + quote("relay.net")
}

func isHostName(s string) bool {
	_, err := hostName(s)
	return err == nil
}

// trimmed returns the list without the space around its entries.
func trimmed(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.TrimSpace(s)
	}
	return out
}

// listeners checks each address and that no two are the same.
func (r *relayReader) listeners() {
	if len(r.relay.Listen) == 0 {
		r.errs.add("listen", "empty: nobody could connect", `listen: [":443"]`)
	}
	first := map[string]string{}
	type used struct{ key, host, port string }
	var taken []used
	check := func(key, address string) {
		r.errs.address(key, address, true)
		if strings.HasSuffix(address, ":0") {
			return // each time another port
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return
		}
		if other := first[address]; other != "" {
			r.errs.add(key, fmt.Sprintf("%s is in %s too", quote(address), other), "each needs a port of its own: change one of the two, or take it out")
		}
		first[address] = key
		for _, o := range taken { // an address without a host is every address
			if o.port == port && o.host != host && (o.host == "" || host == "") {
				r.errs.add(key, fmt.Sprintf("%s overlaps %s, which has that port", quote(address), o.key), "an address without a host is every address: change one of the two, or take it out")
			}
		}
		taken = append(taken, used{key, host, port})
	}
	for i, address := range r.relay.Listen {
		check(fmt.Sprintf("listen[%d]", i), address)
	}
	for i, address := range r.relay.HTTPListen {
		check(fmt.Sprintf("http_listen[%d]", i), address)
	}
	if r.relay.Admin.Listen != "" {
		check("admin.listen", r.relay.Admin.Listen)
	}
	if len(r.relay.Cluster.Etcd.Endpoints) > 0 {
		check("cluster.listen", r.relay.Cluster.Listen)
	}
}

// policy checks that tokens and policy fit together.
func (r *relayReader) policy() {
	policy := r.relay.Names.Policy
	if policy == "open" {
		r.warnings = append(r.warnings, Warning{
			Key:     "names.policy",
			Message: "names.policy is open: anyone who can reach this relay may take names below " + r.relay.Domain,
			Hints:   []string{"names: {policy: token} gives names only to those who have a token"},
		})
	}
	if len(r.relay.Tokens) > 0 && policy != "token" {
		message := "tokens have no effect while names.policy is " + policy
		if policy == "open" {
			message = "while names.policy is open, a token counts for a reserved name alone, such as www, that it names in full"
		}
		r.warnings = append(r.warnings, Warning{
			Key:     "tokens",
			Message: message,
			Hints:   []string{"names: {policy: token}"},
		})
	}
}

// example is a domain for hints.
func example(domain string) string { return cmp.Or(domain, "relay.net") }

// nameBelow checks a name that must be below the domain.
func (r *relayReader) nameBelow(key string, name *string) {
	domain := r.relay.Domain
	normal, err := hostName(*name)
	switch {
	case err != nil && belowDomain(*name, domain) != "":
		r.errs.add(key, err.Error(), fmt.Sprintf("did you mean %q?", belowDomain(*name, domain)))
		return
	case err != nil:
		r.errs.add(key, err.Error(), "as in xyz."+example(domain))
		return
	case domain == "": // reported already
	case normal == domain:
		r.errs.add(key, quote(*name)+" is the relay's own name", "a name below it, as in xyz."+domain)
	case !hostname.IsBelow(normal, domain):
		r.errs.add(key, fmt.Sprintf("%s is not below %s", quote(*name), domain), movedHint(normal, domain, false))
	}
	*name = normal
}

// relayCertificate checks where the certificate comes from: a CA or files.
func (r *relayReader) relayCertificate() {
	r.errs.httpsURL("acme.ca", r.relay.ACME.CA)
	r.errs.email("acme.email", r.relay.ACME.Email)
	r.errs.binding("acme.eab.kid", &r.relay.ACME.EAB.KID, "acme.eab.hmac", &r.relay.ACME.EAB.HMAC)
	switch t := r.relay.TLS; {
	case t.CertFile != "" && t.KeyFile == "":
		r.errs.add("tls.key_file", "missing", "tls.cert_file needs the private key of its certificate")
	case t.CertFile == "" && t.KeyFile != "":
		r.errs.add("tls.cert_file", "missing", "tls.key_file needs the certificate of its private key")
	case t.CertFile != "" && r.relay.ACME != ACME{}:
		r.errs.add("tls.cert_file", "acme is set too", "a certificate comes from acme or from files: take one of them out")
	}
}

// MaxDrain is the longest time that visitors can be given to finish: a week.
const MaxDrain = 7 * 24 * time.Hour

// drain parses how long visitors may finish.
func (e *Errors) drain(key string, d *time.Duration, s string) {
	parsed, err := time.ParseDuration(s)
	switch {
	case err != nil && isPort(s): // a number without a unit
		e.add(key, quote(s)+" has no unit", "as in "+quote(s+"s"))
	case err != nil:
		e.add(key, quote(s)+" is no duration", "as in 30s or 1h")
	case parsed < 0:
		e.add(key, quote(s)+" is negative", "0s cuts visitors at once")
	case parsed > MaxDrain:
		e.add(key, quote(s)+" is too long", "168h at most, which is a week")
	default:
		*d = parsed
	}
}

// MinMemory is the least that [Relay].Memory may be, in bytes.
const MinMemory = 16 << 20

// size parses an amount of memory as GOMEMLIMIT has it: bytes, or a number with B,
// KiB, MiB, GiB or TiB. Nothing is 0.
func (e *Errors) size(key string, n *int64, s string) {
	if s == "" {
		return
	}
	digits, unit := s, int64(1)
	for _, u := range []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}} {
		if d, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = d, u.size
			break
		}
	}
	parsed, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || parsed < 0 || parsed > math.MaxInt64/unit:
		e.add(key, quote(s)+" is no amount of memory", meantSize(s))
	case parsed*unit < MinMemory:
		e.add(key, quote(s)+" is too little", "16MiB at least")
	default:
		*n = parsed * unit
	}
}

// meantSize says what was most likely meant by s, which is no amount of memory.
func meantSize(s string) string {
	number := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	unit := strings.ToLower(strings.TrimSpace(s[len(number):]))
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		letter := strings.ToLower(u[:1])
		if number != "" && slices.Contains([]string{letter, letter + "b", letter + "ib", letter + "i"}, unit) {
			return fmt.Sprintf("did you mean %q?", number+u)
		}
	}
	return "as in 512MiB or 2GiB; without it, half of what the process may have"
}

// abuse makes the public contact a URL.
func (r *relayReader) abuse() {
	s := &r.relay.Abuse
	if *s == "" {
		return
	}
	if isEmail(*s) {
		*s = "mailto:" + *s
		return
	}
	u, err := url.Parse(*s)
	if err == nil && (u.Scheme == "https" && u.Host != "" || u.Scheme == "mailto" && isEmail(u.Opaque)) {
		return
	}
	r.errs.add("abuse", quote(*s)+" is no mail address, mailto: or https:// URL", "as in abuse@relay.net")
}
