package config

import (
	"fmt"
	"slices"
	"strings"

	"keystay/internal/hostname"
)

// tokens checks and normalises each token.
func (r *relayReader) tokens() {
	tokens := slices.Clone(r.relay.Tokens)
	for i := range tokens {
		t := &tokens[i]
		key := fmt.Sprintf("tokens[%d]", i)
		if t.SecretFile == "" {
			r.errs.add(key+".secret_file", "missing", "the file that holds the token, one line")
		}
		if len(t.Names) == 0 {
			r.errs.add(key+".names", "missing: a token without names is good for nothing", `names: ["*.`+example(r.relay.Domain)+`"] for all names`)
		}
		t.Names = trimmed(t.Names)
		for j := range t.Names {
			r.tokenName(fmt.Sprintf("%s.names[%d]", key, j), &t.Names[j])
		}
	}
	r.relay.Tokens = tokens
}

// tokenName checks a name, or all names below one, that a token is good for.
func (r *relayReader) tokenName(key string, name *string) {
	domain := r.relay.Domain
	base, wild := strings.CutPrefix(*name, "*.")
	normal, err := hostName(base)
	if err != nil {
		hint := fmt.Sprintf("as in xyz.%[1]s or *.team.%[1]s", example(domain))
		if meant := belowDomain(base, domain); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", strings.TrimSuffix(*name, base)+meant)
		}
		r.errs.add(key, err.Error(), hint)
		return
	}
	switch {
	case domain == "": // reported already
	case normal == domain && !wild:
		r.errs.add(key, quote(*name)+" is the relay's own name", `"*.`+domain+`" is all names below it`)
	case normal != domain && !hostname.IsBelow(normal, domain):
		r.errs.add(key, fmt.Sprintf("%s is not below %s", quote(*name), domain), movedHint(normal, domain, wild))
	}
	*name = normal
	if wild {
		*name = "*." + normal
	}
}

const (
	// minToken is how many bytes a token must have.
	minToken = 8
	// goodToken is how many it should have: anybody may guess, from many addresses.
	goodToken = 16
)

// tokenLength checks how long a token is, if it could be read.
func (r *relayReader) tokenLength(key string, t Token) {
	n := len(t.Secret)
	do := "write a longer one, and give it to those who use it: openssl rand -hex 24 > " + t.SecretFile
	switch {
	case n == 0 || n >= goodToken: // nothing was read, or enough
		return
	case n < minToken:
		r.errs.add(key, fmt.Sprintf("a token of %d bytes can be guessed: %d at least", n, minToken), do)
		return
	}
	r.warnings = append(r.warnings, Warning{Key: key, Message: fmt.Sprintf("the token in %s is short and may be guessed: %d bytes, %d or more are good", t.SecretFile, n, goodToken), Hints: []string{do}})
}

// movedHint says what a name of another domain may be meant to be below domain:
// the last two labels are taken for the other domain.
func movedHint(name, domain string, wild bool) string {
	labels := strings.Split(name, ".")
	labels = labels[:max(0, len(labels)-2)]
	if wild {
		labels = append([]string{"*"}, labels...)
	}
	if len(labels) == 0 {
		return fmt.Sprintf("a name below %[1]s, as in \"xyz.%[1]s\"", domain)
	}
	return fmt.Sprintf("did you mean %q?", strings.Join(labels, ".")+"."+domain)
}

// belowDomain is the name that a single label is meant to be below the domain, or
// "".
func belowDomain(label, domain string) string {
	if name := label + "." + domain; domain != "" && !strings.Contains(label, ".") && isHostName(name) {
		return name
	}
	return ""
}
