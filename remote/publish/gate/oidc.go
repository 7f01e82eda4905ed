package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"keystay/internal/hint"
)

// OIDC is a provider of OpenID Connect, and which of its users are let in. At the
// provider the gate is a client for the code flow, whose redirect URL is
// https://NAME/.well-known/keystay/callback.
type OIDC struct {
	// Issuer is the https URL of the provider, as it stands in its tokens. On a
	// loopback address it may be http.
	Issuer string

	// ClientID and ClientSecret are what the provider knows the gate by. A public
	// client has no secret; PKCE is used in any case.
	ClientID, ClientSecret string

	// Groups and Emails are which users are let in: members of one of the groups, by
	// the claim "groups", and users with one of the e-mail addresses, if the provider
	// says that it is verified. "@example.com" is all addresses there, and "*" each
	// user of the provider. One of the two lists has something.
	Groups, Emails []string

	// Scopes are asked for beside openid, email and profile.
	Scopes []string

	// Transport is how the provider is reached; nil is as http.DefaultTransport does.
	Transport http.RoundTripper
}

const (
	// providerTime bounds each exchange with a provider.
	providerTime = 10 * time.Second
	// providerPause is how long a provider is left alone that has not answered.
	providerPause = 5 * time.Second
	// providerTold is how often the log says so, at most.
	providerTold = time.Minute
	// maxProviderBody is the longest answer that is read of a provider, in bytes.
	maxProviderBody = 1 << 20
	// maxProviderCalls is how many visitors a provider is asked about at once.
	maxProviderCalls = 8
)

// A provider is an OIDC of a rule, which is reached when somebody first needs it.
type provider struct {
	OIDC
	rule  *rule
	host  string // to people, the provider
	calls chan struct{}

	finding chan struct{} // held while those below are used
	found   *oidc.Provider
	failed  time.Time
	told    time.Time // in the log
	err     error
}

// newProvider checks what it can without the provider.
func newProvider(o *OIDC, r *rule) (*provider, error) {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the issuer is no https URL")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, errors.New("the issuer is no https URL")
	case o.ClientID == "":
		return nil, errors.New("no client ID for the OIDC provider")
	case len(o.Groups) == 0 && len(o.Emails) == 0:
		return nil, hint.GateEveryUser.Error(fmt.Errorf("neither groups nor e-mail addresses say which users of %s are let in", u.Host))
	}
	p := &provider{OIDC: *o, rule: r, host: u.Hostname(), calls: make(chan struct{}, maxProviderCalls), finding: make(chan struct{}, 1)}
	base := o.Transport
	if base == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableKeepAlives = true // sign-ins are rare
		base = t
	}
	p.Transport = guard{base, u.Scheme == "http"}
	return p, nil
}

// isLoopback reports whether a host of a URL is this machine.
func isLoopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return host == "localhost"
}

// A guard keeps what a provider says from leading elsewhere: its endpoints are reached
// over TLS alone, and what they answer is bounded.
type guard struct {
	http.RoundTripper
	loopback bool // the provider is on this machine, without TLS
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(g.loopback && isLoopback(r.URL.Hostname())) {
		return nil, fmt.Errorf("%s is not reached over TLS", r.URL.Host)
	}
	resp, err := g.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxProviderBody)
	}
	return resp, err
}

// client returns a context by which the libraries reach the provider.
func (p *provider) client(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{
		Transport: p.Transport,
		Timeout:   providerTime,
		// A provider that has moved says so to its users, and not on the way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
}

// find returns the provider with what it says of itself (OpenID Connect Discovery). It
// is asked again where it has not answered, but not all the time.
func (p *provider) find(ctx context.Context) (*oidc.Provider, error) {
	select {
	case p.finding <- struct{}{}:
		defer func() { <-p.finding }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.found != nil {
		return p.found, nil
	}
	if time.Since(p.failed) < providerPause {
		return nil, p.err
	}
	// A visitor who leaves does not end it for the others.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTime)
	defer cancel()
	found, err := oidc.NewProvider(p.client(look), p.Issuer)
	if err != nil {
		p.failed, p.err = time.Now(), err
		if time.Since(p.told) < providerTold {
			return nil, err
		}
		p.told = time.Now()
		p.rule.gate.log.Warn("the OIDC provider cannot be reached", "name", p.rule.gate.name, "issuer", p.Issuer, "err", err, hint.Attr(hint.GateProvider.Do))
		return nil, err
	}
	p.found = found
	return found, nil
}

// config is how the provider is asked. A request says which port the name has.
func (p *provider) config(found *oidc.Provider, req *http.Request) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: "https://" + strings.TrimSuffix(req.Host, ":443") + callbackPath,
		Scopes:      append([]string{oidc.ScopeOpenID, "email", "profile"}, p.Scopes...),
	}
}

// content is what a session by the provider is bound to.
func (p *provider) content() []string {
	c := []string{p.Issuer, p.ClientID, "groups"}
	c = append(c, p.Groups...)
	return append(append(c, "emails"), p.Emails...)
}

// claims are what is read of an ID token, or of what the provider's userinfo endpoint
// says.
type claims struct {
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // true, and with some providers "true"
	Groups   any    `json:"groups"`         // a list, and with some providers one text
}

// user turns a code into the user that the provider vouches for.
func (p *provider) user(ctx context.Context, found *oidc.Provider, config *oauth2.Config, code string, f *flow) (user, error) {
	ctx, cancel := context.WithTimeout(p.client(ctx), 2*providerTime)
	defer cancel()
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(p.rule.flowValue(f, "verifier")))
	if err != nil {
		return user{}, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return user{}, errors.New("the provider has given no ID token")
	}
	id, err := found.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return user{}, err
	}
	if id.Nonce != p.rule.flowValue(f, "nonce") {
		return user{}, errors.New("the ID token is of another sign-in")
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return user{}, err
	}
	if found.UserInfoEndpoint() != "" && (c.Email == "" || c.Groups == nil && len(p.Groups) > 0) {
		info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return user{}, err
		}
		if info.Subject != id.Subject {
			return user{}, errors.New("the provider's userinfo is of another user")
		}
		var more claims
		if err := info.Claims(&more); err != nil {
			return user{}, err
		}
		if c.Email == "" { // an address is taken with what the same text says of it
			c.Email, c.Verified = more.Email, more.Verified
		}
		if c.Groups == nil {
			c.Groups = more.Groups
		}
	}
	return c.user(id.Subject), nil
}

// user returns what of the claims may be relied on.
func (c *claims) user(subject string) user {
	u := user{Name: subject, Groups: texts(c.Groups)}
	if c.Email != "" && (c.Verified == true || c.Verified == "true") {
		u.Name, u.Email = c.Email, c.Email
	}
	return u
}

// texts are the texts in a claim.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// lets reports whether a user of the provider is let in.
func (o *OIDC) lets(u user) bool {
	if slices.ContainsFunc(u.Groups, func(g string) bool { return g != "" && slices.Contains(o.Groups, g) }) {
		return true
	}
	email := lower(u.Email)
	return slices.ContainsFunc(o.Emails, func(e string) bool {
		switch {
		case e == "*":
			return true
		case email == "":
			return false
		case strings.HasPrefix(e, "@"):
			i := strings.LastIndexByte(email, '@')
			return i > 0 && email[i:] == lower(e)
		}
		return email == lower(e)
	})
}

// lower is s in lower case as far as it is ASCII: e-mail addresses that differ in
// anything else are different.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
