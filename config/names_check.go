package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"keystay/internal/hostname"
)

const (
	// MinExpire and MaxExpire bound [Names].ExpireUnused: a day, and ten years.
	MinExpire = 24 * time.Hour
	MaxExpire = 10 * 365 * 24 * time.Hour
	// MaxRemember is the longest time that an answer of a webhook counts: a day.
	MaxRemember = 24 * time.Hour
	// MaxResolvers is how many of [Names].Resolvers there may be.
	MaxResolvers = 4
	// MinSecret is how many bytes the key of a webhook's signatures must have.
	MinSecret = 16
	// maxPerWeek is the most of [Names].CertificatesPerWeek.
	maxPerWeek = 1_000_000
)

// names checks who may take names.
func (r *relayReader) names() {
	r.errs.oneOf("names.key_names", r.relay.Names.KeyNames, "open", "token", "off")
	r.relay.Names.Reserved = trimmed(r.relay.Names.Reserved)
	for i, p := range r.relay.Names.Reserved {
		if r.relay.Domain == "" { // reported already
			break
		}
		normal, err := hostname.Pattern(p, r.relay.Domain)
		if err != nil {
			r.errs.add(fmt.Sprintf("names.reserved[%d]", i), err.Error(), "a label below "+r.relay.Domain+", as in www or mail*")
			continue
		}
		r.relay.Names.Reserved[i] = normal
	}
	r.relay.Names.Reserved = slices.Compact(slices.Sorted(slices.Values(r.relay.Names.Reserved)))
	r.resolvers()
	w := &r.relay.Names.Webhook
	switch {
	case w.URL == "" && w.SecretFile != "":
		r.errs.add("names.webhook.url", "missing", "names.webhook.secret_file signs questions to a server: say which, or take it out")
	case w.URL != "" && w.SecretFile == "":
		r.errs.add("names.webhook.secret_file", "missing", "the questions are signed, so that the server knows who asks: openssl rand -hex 32 > FILE")
	}
	if w.URL != "" {
		r.webhookURL()
	}
}

// trueOrFalse reads a switch.
func (e *Errors) trueOrFalse(key string, b *bool, s string) {
	var err error
	if *b, err = strconv.ParseBool(s); err != nil {
		e.add(key, quote(s)+" is neither true nor false")
	}
}

// resolvers checks the DNS servers that prove custom domains.
func (r *relayReader) resolvers() {
	list := r.relay.Names.Resolvers
	if len(list) > MaxResolvers {
		r.errs.add("names.resolvers", fmt.Sprintf("%d are too many", len(list)), fmt.Sprintf("%d at most: the next one is asked when one does not answer", MaxResolvers))
	}
	for i := range list {
		r.errs.dnsServer(fmt.Sprintf("names.resolvers[%d]", i), &list[i])
	}
}

// webhookURL checks where questions about names go: by https, since the answer
// decides, or to this machine.
func (r *relayReader) webhookURL() {
	s := r.relay.Names.Webhook.URL
	u, err := url.Parse(s)
	if err == nil && u.User != nil {
		r.errs.add("names.webhook.url", "has a user and a password", "the questions are signed: take them out")
		return
	}
	if err == nil && isSecret(u) {
		return
	}
	r.errs.add("names.webhook.url", quote(s)+" is no https:// URL", "as in https://names.example.com/decide, or http://127.0.0.1:8000/ on this machine")
}

// isSecret reports whether what goes to a URL stays secret: by https, or on this
// machine.
func isSecret(u *url.URL) bool {
	a, notAddress := netip.ParseAddr(u.Hostname())
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || notAddress == nil && a.IsLoopback()))
}

// webhookSecret reads the key of the signatures.
func (r *relayReader) webhookSecret() {
	w := &r.relay.Names.Webhook
	r.warnings = append(r.warnings, r.errs.secretFile("names.webhook.secret_file", w.SecretFile, &w.Secret)...)
	if n := len(w.Secret); n > 0 && n < MinSecret {
		r.errs.add("names.webhook.secret_file", fmt.Sprintf("a key of %d bytes can be guessed: %d at least", n, MinSecret), "openssl rand -hex 32 > "+w.SecretFile)
	}
}

// span parses a time between two others.
func (e *Errors) span(key string, d *time.Duration, s string, least, most time.Duration) {
	parsed, err := time.ParseDuration(s)
	switch {
	case err != nil && isCount(s):
		e.add(key, quote(s)+" has no unit", "as in "+quote(s+"h"))
	case err != nil:
		e.add(key, quote(s)+" is no duration", "as in 30s, 1h or 8760h, which is a year")
	case parsed < least || parsed > most:
		e.add(key, fmt.Sprintf("%s is not from %s to %s", quote(s), least, most))
	default:
		*d = parsed
	}
}

func isCount(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil && s != "0"
}

// count parses a number from 0 to most.
func (e *Errors) count(key string, n *int, s string, most int) {
	parsed, err := strconv.Atoi(s)
	if err != nil || parsed < 0 || parsed > most {
		e.add(key, fmt.Sprintf("%s is no number from 0 to %d", quote(s), most))
		return
	}
	*n = parsed
}
