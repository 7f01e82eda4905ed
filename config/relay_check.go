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
)

// checkRelay checks the values of r and returns them normalised. It looks at
// nothing but r and changes nothing of what it is given.
func checkRelay(r Relay) (Relay, []Warning, Errors) {
	var errs Errors
	if errs.ownName(&r); len(errs) > 0 {
		r.Domain = "" // nothing can be compared with it
	}
	r.Listen = trimmed(r.Listen)
	r.HTTPListen = trimmed(r.HTTPListen)
	errs.listeners(r)
	if r.StateDir == "" {
		errs.add("state_dir", "empty", "a folder that the relay may write, as in /var/lib/keystay")
	}
	errs.oneOf("names.policy", r.Names.Policy, "open", "token", "closed")
	errs.names(&r)
	warnings := errs.policy(r)
	r.Tokens = errs.tokens(r)
	if r.DefaultName != "" {
		errs.nameBelow("default_name", &r.DefaultName, r.Domain)
	}
	r.Static = slices.Clone(r.Static)
	errs.front(&r)
	errs.relayCertificate(&r)
	errs.oneOf("reload", r.Reload, "keep", "takeover")
	errs.oneOf("lanes", r.Lanes, "auto", "off")
	errs.oneOf("log.level", r.Log.Level, "debug", "info", "warn", "error")
	errs.oneOf("log.format", r.Log.Format, "text", "json")
	errs.abuse(&r.Abuse)
	errs.adminHosts(&r.Admin)
	errs.cluster(&r.Cluster)
	return r, append(warnings, unwise(r)...), errs
}

// ownNameHint is what a relay's domain must be.
const ownNameHint = "the relay's own name, as in domain: relay.net or --domain relay.net"

// ownName checks and normalises the relay's domain.
func (e *Errors) ownName(r *Relay) {
	typed := r.Domain
	if typed == "" {
		e.add("domain", "missing", ownNameHint)
		return
	}
	if e.domain("domain", &r.Domain); len(*e) > 0 {
		if wrong := (*e)[0]; len(wrong.Hints) == 0 {
			wrong.Hints = []string{domainHint(typed)}
		}
		return
	}
	if isExample(r.Domain) && r.ACME.CA == "" && r.TLS == (TLS{}) {
		e.add("domain", quote(typed)+" stands in the documents for a domain of your own",
			"put a domain in its place whose DNS is yours: Let's Encrypt is asked for a certificate for it")
	}
}

// isExample reports whether a name is that of the documents or below it, or one
// that nobody can have (RFC 2606, sections 2 and 3).
func isExample(name string) bool {
	for _, base := range []string{"relay.net", "example.com", "example.net", "example.org", "example"} {
		if name == base || strings.HasSuffix(name, "."+base) {
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
func (e *Errors) listeners(r Relay) {
	if len(r.Listen) == 0 {
		e.add("listen", "empty: nobody could connect", `listen: [":443"]`)
	}
	first := map[string]string{}
	type used struct{ key, host, port string }
	var taken []used
	check := func(key, address string) {
		e.address(key, address, true)
		if strings.HasSuffix(address, ":0") {
			return // each time another port
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return
		}
		if other := first[address]; other != "" {
			e.add(key, fmt.Sprintf("%s is in %s too", quote(address), other), "each needs a port of its own: change one of the two, or take it out")
		}
		first[address] = key
		for _, o := range taken { // an address without a host is every address
			if o.port == port && o.host != host && (o.host == "" || host == "") {
				e.add(key, fmt.Sprintf("%s overlaps %s, which has that port", quote(address), o.key), "an address without a host is every address: change one of the two, or take it out")
			}
		}
		taken = append(taken, used{key, host, port})
	}
	for i, address := range r.Listen {
		check(fmt.Sprintf("listen[%d]", i), address)
	}
	for i, address := range r.HTTPListen {
		check(fmt.Sprintf("http_listen[%d]", i), address)
	}
	if r.Admin.Listen != "" {
		check("admin.listen", r.Admin.Listen)
	}
	if len(r.Cluster.Etcd.Endpoints) > 0 {
		check("cluster.listen", r.Cluster.Listen)
	}
}

// policy checks that tokens and policy fit together.
func (e *Errors) policy(r Relay) []Warning {
	var warnings []Warning
	switch {
	case r.Names.Policy == "open":
		warnings = append(warnings, Warning{
			Key:     "names.policy",
			Message: "names.policy is open: anyone who can reach this relay may take names below " + r.Domain,
			Hints:   []string{"names: {policy: token} gives names only to those who have a token"},
		})
	}
	if len(r.Tokens) > 0 && r.Names.Policy != "token" {
		message := "tokens have no effect while names.policy is " + r.Names.Policy
		if r.Names.Policy == "open" {
			message = "while names.policy is open, a token counts for a reserved name alone, such as www, that it names in full"
		}
		warnings = append(warnings, Warning{
			Key:     "tokens",
			Message: message,
			Hints:   []string{"names: {policy: token}"},
		})
	}
	return warnings
}

// example is a domain for hints.
func example(domain string) string { return cmp.Or(domain, "relay.net") }

// nameBelow checks a name that must be below the domain.
func (e *Errors) nameBelow(key string, name *string, domain string) {
	normal, err := hostName(*name)
	switch {
	case err != nil && belowDomain(*name, domain) != "":
		e.add(key, err.Error(), fmt.Sprintf("did you mean %q?", belowDomain(*name, domain)))
		return
	case err != nil:
		e.add(key, err.Error(), "as in xyz."+example(domain))
		return
	case domain == "": // reported already
	case normal == domain:
		e.add(key, quote(*name)+" is the relay's own name", "a name below it, as in xyz."+domain)
	case !strings.HasSuffix(normal, "."+domain):
		e.add(key, fmt.Sprintf("%s is not below %s", quote(*name), domain), movedHint(normal, domain, false))
	}
	*name = normal
}

// relayCertificate checks where the certificate comes from: a CA or files.
func (e *Errors) relayCertificate(r *Relay) {
	e.httpsURL("acme.ca", r.ACME.CA)
	e.email("acme.email", r.ACME.Email)
	e.binding("acme.eab.kid", &r.ACME.EAB.KID, "acme.eab.hmac", &r.ACME.EAB.HMAC)
	switch t := r.TLS; {
	case t.CertFile != "" && t.KeyFile == "":
		e.add("tls.key_file", "missing", "tls.cert_file needs the private key of its certificate")
	case t.CertFile == "" && t.KeyFile != "":
		e.add("tls.cert_file", "missing", "tls.key_file needs the certificate of its private key")
	case t.CertFile != "" && r.ACME != ACME{}:
		e.add("tls.cert_file", "acme is set too", "a certificate comes from acme or from files: take one of them out")
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
func (e *Errors) abuse(s *string) {
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
	e.add("abuse", quote(*s)+" is no mail address, mailto: or https:// URL", "as in abuse@relay.net")
}
