package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"keystay/internal/urlpath"
)

// A rule is a Rule, ready for requests.
type rule struct {
	Rule
	gate  *Gate
	paths []spelling
	id    string // of the paths: it tells the cookies of different rules apart
	certs *certificates
	oidc  *provider
}

// A spelling is a path of a rule or of a request, as it is and folded.
type spelling struct{ exact, folded string }

func spelt(path string) spelling { return spelling{path, urlpath.Fold(path)} }

// ownFolder is what is below it the gate's own.
const ownFolder = "/.well-known/keystay/"

// newRule makes a rule, or says what is wrong with it.
func (g *Gate) newRule(r Rule) (*rule, error) {
	made := &rule{Rule: r, gate: g}
	if len(r.Paths) == 0 {
		r.Paths = []string{"/"}
	}
	for _, p := range r.Paths {
		clean, plain := urlpath.Clean((&url.URL{Path: p}).EscapedPath())
		if !strings.HasPrefix(p, "/") || clean != p || !plain {
			return nil, fmt.Errorf("%q is no path, or one that services may read in different ways", p)
		}
		if p != "/" {
			p = strings.TrimSuffix(p, "/")
		}
		made.paths = append(made.paths, spelt(p))
	}
	slices.SortFunc(made.paths, func(a, b spelling) int { return strings.Compare(a.exact, b.exact) })
	h := sha256.New()
	for _, p := range made.paths {
		h.Write([]byte(p.exact + "\x00"))
	}
	made.id = hex.EncodeToString(h.Sum(nil)[:8])
	if !made.signsIn() && len(r.Addresses) == 0 && len(r.TrustedAddresses) == 0 {
		return nil, errors.New("it says of no visitor how to get in: passwords, links, addresses, client certificates or OIDC")
	}
	if len(r.ClientCA) > 0 {
		made.certs = newCertificates(r.ClientCA)
	}
	if r.OIDC != nil {
		p, err := newProvider(r.OIDC, made)
		if err != nil {
			return nil, err
		}
		made.oidc = p
	}
	return made, nil
}

// signsIn reports whether there is a way to sign in.
func (r *Rule) signsIn() bool {
	return r.Passwords != nil || r.Links || len(r.ClientCA) > 0 || r.OIDC != nil
}

// rulesFor returns the rules that a request for a path has to pass: the one with the
// longest path, and where a service may take the path for another one, since it does
// not look at case, or at what is at the end of a name, those for that path too. A service may
// look at case in the files below a folder, and not in the folder's own name: so these are all
// whose path is not shorter.
func (g *Gate) rulesFor(path spelling) (rules []*rule) {
	bare, length := urlpath.Bare(path.folded), -1
	for _, r := range g.rules {
		for _, p := range r.paths {
			if urlpath.Has(path.exact, p.exact) {
				length = max(length, len(p.folded))
			}
		}
	}
	for _, r := range g.rules {
		if slices.ContainsFunc(r.paths, func(p spelling) bool {
			return len(p.folded) >= length && (urlpath.Has(path.exact, p.exact) || urlpath.Has(path.folded, p.folded) || urlpath.Has(bare, p.folded))
		}) {
			rules = append(rules, r)
		}
	}
	return rules
}

// contains reports whether an address is in one of the ranges.
func contains(ranges []netip.Prefix, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}
