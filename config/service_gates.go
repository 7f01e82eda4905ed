package config

import (
	"net/url"
	"regexp"
	"strings"
)

// gates reads the gates of a service.
func (r *serviceReader) gates(b block, s *Service) (gates []Gate) {
	rows := b.rows("gates")
	if b.has("gate") {
		if b.has("gates") {
			r.errs.add(b.at("gate"), "there are gates too", "put it into them")
		}
		rows = []block{b.group("gate")}
	}
	for _, row := range rows {
		if s.Raw != nil {
			r.errs.add(row.path, "has no effect on "+s.Raw.String()+", whose bytes are passed on as they are", "allow and deny say from which addresses visitors may come")
			continue
		}
		gates = append(gates, r.gate(row))
	}
	first := map[string]bool{}
	for i, g := range gates {
		paths := g.Paths
		if len(paths) == 0 {
			paths = []string{"/"}
		}
		for _, p := range paths {
			same := strings.TrimSuffix(p, "/") // a gate at /a/ is for /a too, and the other way round
			if first[same] {
				r.errs.add(rows[i].path, "there is a gate for "+quote(p)+" already", "put both into one, or give them other paths")
			}
			first[same] = true
		}
	}
	return gates
}

// gate reads one gate.
func (r *serviceReader) gate(b block) Gate {
	g := Gate{
		Paths:            b.list("paths"),
		PasswordFile:     r.path(b, "password_file"),
		Links:            b.switchOf("links"),
		Addresses:        r.ranges(b, "addresses"),
		TrustedAddresses: r.ranges(b, "trusted_addresses"),
		ClientCA:         r.path(b, "client_ca"),
		Header:           b.switchOf("header"),
	}
	for _, p := range g.Paths {
		r.urlPath(b.at("paths"), p)
	}
	users := map[string]bool{}
	for _, line := range b.list("passwords") {
		r.password(b.at("passwords"), line, users)
		g.Passwords = append(g.Passwords, Secret(line))
	}
	for _, key := range []string{"addresses", "trusted_addresses"} {
		if b.has(key) && len(b.list(key)) == 0 {
			r.errs.add(b.at(key), "empty", "to say nothing of addresses, leave it out")
		}
	}
	r.errs.readable(b.at("password_file"), g.PasswordFile)
	r.errs.readable(b.at("client_ca"), g.ClientCA)
	if b.has("oidc") {
		g.OIDC = r.oidc(b.group("oidc"))
	}
	signsIn := len(g.Passwords) > 0 || g.PasswordFile != "" || g.Links || g.ClientCA != "" || g.OIDC != nil
	switch {
	case len(g.TrustedAddresses) > 0 && !signsIn:
		r.errs.add(b.at("trusted_addresses"), "there is no way to sign in for all others", "addresses lets nobody else in; or add passwords, links, client_ca or oidc")
	case !signsIn && len(g.Addresses) == 0:
		r.errs.add(b.path, "lets everybody in", "say who may come in: password_file, passwords, links, addresses, client_ca or oidc")
	}
	return g
}

// bcryptHash is what "remote password" and htpasswd -B make.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// password checks USER:HASH. Nothing of it is repeated but the user, since a password
// may stand in the place of the hash.
func (r *serviceReader) password(at, line string, users map[string]bool) {
	user, hash, ok := strings.Cut(line, ":")
	with := "remote password " + user + " asks for the password and prints what to write here"
	switch {
	case !ok || user == "" || strings.ContainsFunc(user, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		r.errs.add(at, "this is not USER:HASH", "remote password USER asks for a password and prints it")
	case !bcryptHash.MatchString(hash):
		r.errs.add(at, "behind the user "+quote(user)+" stands no bcrypt hash: plain passwords are not taken", with)
	case hash[4:6] < "04" || hash[4:6] > "15":
		r.errs.add(at, "the hash of "+quote(user)+" has a cost of "+hash[4:6], "4 to 15; "+with)
	case users[user]:
		r.errs.add(at, "the user "+quote(user)+" is there twice", "one password for each user")
	}
	users[user] = true
}

// oidc reads a provider to sign in with.
func (r *serviceReader) oidc(b block) *OIDC {
	o := &OIDC{
		Issuer: b.text("issuer"), ClientID: b.text("client_id"), ClientSecretFile: r.path(b, "client_secret_file"),
		Groups: b.list("groups"), Emails: b.list("emails"), Scopes: b.list("scopes"),
	}
	if o.Issuer == "" {
		r.errs.add(b.at("issuer"), "missing", "the provider's URL, as in https://accounts.example.com")
	}
	if o.ClientID == "" {
		r.errs.add(b.at("client_id"), "missing", "the provider gives it out for each client")
	}
	if o.Issuer != "" {
		r.issuer(b.at("issuer"), o.Issuer)
	}
	if len(o.Groups)+len(o.Emails) == 0 {
		r.errs.add(b.at("emails"), "missing: nobody would get in", "emails: [me@example.com], [\"@example.com\"] for all of that domain, or [\"*\"] for all users of the provider; or groups")
	}
	for _, address := range o.Emails {
		if address != "*" && !isEmail(address) && !isEmail("x"+address) {
			r.errs.add(b.at("emails"), quote(address)+" is no mail address", "as in me@example.com, or @example.com for all of that domain")
		}
	}
	r.warnings = append(r.warnings, r.errs.secretFile(b.at("client_secret_file"), o.ClientSecretFile, &o.ClientSecret)...)
	return o
}

// issuer checks the URL of a provider: https, or this machine.
func (r *serviceReader) issuer(at, s string) {
	if u, err := url.Parse(s); err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !isSecret(u) {
		r.errs.add(at, quote(s)+" is no https:// URL", "as in https://accounts.example.com")
	}
}

// warnOpen warns of secrets in a file that every user of the machine can read.
func (r *serviceReader) warnOpen(remote Remote) {
	for _, k := range r.src.keys {
		if k.Secret && !k.isMember() && r.src.inFile(k.Name) && holdsSecret(k.Name, r.src.text(k.Name)) {
			r.warnings = append(r.warnings, openFile(k.Name, r.src.file.name, "a secret"))
			return
		}
	}
}

// holdsSecret reports whether the value of a key that may hold a secret does: the URL of a
// proxy is one only with a password in it.
func holdsSecret(key, value string) bool {
	if key != "proxy" && key != "probe.proxy" {
		return value != ""
	}
	if _, rest, ok := strings.Cut(value, "://"); ok {
		value = rest
	}
	return hasPassword(value)
}
