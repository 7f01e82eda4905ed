package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"keystay/internal/domainproof"
	"keystay/internal/statement"
)

// Limit is how long a check may take in all.
const Limit = 30 * time.Second

// A Config says what is checked. Only Name is required.
type Config struct {
	Name string // in normal form
	Port string // empty is 443

	// Address, host:port, is dialled in place of the name's own, without a proxy. The
	// name is still what is verified.
	Address string

	// Roots are trusted for the chain; nil means the system's.
	Roots *x509.CertPool

	// Identity is the label of the device that should hold the key; empty where that is
	// not known.
	Identity string

	// DNS is asked for the CAA records; the zero value asks the system's servers.
	DNS domainproof.Resolver

	// Proxy chooses a proxy for the connection to the name; nil is none.
	Proxy func(*http.Request) (*url.URL, error)

	// Dial connects to the name's address, host:port, in the place of what Proxy says;
	// nil is to heed that.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// A Step is one part of the check.
type Step string

// The steps, in their order. The last two decide nothing.
const (
	Connection Step = "connection"      // a TLS connection to the name
	Chain      Step = "chain"           // its certificate is for the name, and trusted
	Document   Step = "document"        // the name answers with a document that can be read
	Signature  Step = "signature"       // the identity in it has signed it
	SameName   Step = "name"            // it is about this name
	Key        Step = "certificate_key" // it names the key of the certificate on this connection
	Time       Step = "time"            // it is fresh
	Identity   Step = "identity"        // its identity is the expected one
	CAA        Step = "caa"             // no other account may have a certificate issued
	CT         Step = "ct"              // the certificate is in public logs
)

// A State is what came of a step.
type State string

// The states of a step. What could not be looked at is never OK.
const (
	OK         State = "ok"
	Wrong      State = "wrong"       // it was looked at, and is not as it should be
	NotChecked State = "not_checked" // it was not looked at, or not to the end
)

// A Check is a step with what came of it.
type Check struct {
	Step   Step   `json:"step"`
	State  State  `json:"state"`
	Detail string `json:"detail"` // for people
}

// Skipped is the detail of a step that was not begun.
const Skipped = "a step before it failed"

// A Verdict is what came of all steps.
type Verdict string

// The verdicts.
const (
	// Held says that the expected device holds the key.
	Held Verdict = "held"
	// Unknown says that a step that decides is not OK, and that nothing is foreign.
	Unknown Verdict = "unknown"
	// Foreign says that the key, the signature or the identity is another one's.
	Foreign Verdict = "foreign"
)

// A Report is what a check has found. What was not found out is empty.
type Report struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`

	CertificateKey string    `json:"certificate_key"` // SHA-256 of the SubjectPublicKeyInfo, in hexadecimal
	Issuer         string    `json:"issuer"`
	NotAfter       time.Time `json:"not_after,omitzero"`
	SCTs           int       `json:"scts"` // signed certificate timestamps (RFC 6962) that came along

	// These are what the document says, whether or not it is to be believed.
	Identity  string    `json:"identity"`   // the label made from the key
	PublicKey string    `json:"public_key"` // in base64
	Account   string    `json:"account"`
	Time      time.Time `json:"time,omitzero"`

	Checks []Check `json:"checks"` // one for each step, in their order
}

// Check checks a name. It takes up to [Limit], and always returns a report.
func (c *Config) Check(ctx context.Context) *Report {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r := &Report{Name: c.Name, Verdict: Unknown}
	for _, s := range []Step{Connection, Chain, Document, Signature, SameName, Key, Time, Identity, CAA, CT} {
		r.Checks = append(r.Checks, Check{s, NotChecked, Skipped})
	}
	state, doc, err := c.fetch(ctx)
	if state == nil {
		r.note(Connection, NotChecked, "%v", err)
		return r
	}
	r.note(Connection, OK, "%s", tls.VersionName(state.Version))
	r.leaf(c, state)
	var said *statement.Statement
	if err == nil {
		said, err = statement.Parse(doc)
	}
	if err != nil {
		r.note(Document, NotChecked, "%v", err)
	} else {
		r.note(Document, OK, "version 1")
		r.said(c, said, state.PeerCertificates[0])
	}
	r.dns(ctx, c, said)
	r.decide()
	return r
}

// note keeps what came of a step.
func (r *Report) note(s Step, state State, format string, args ...any) {
	for i := range r.Checks {
		if r.Checks[i].Step == s {
			r.Checks[i].State, r.Checks[i].Detail = state, fmt.Sprintf(format, args...)
		}
	}
}

// Of returns what came of a step.
func (r *Report) Of(s Step) Check {
	for _, c := range r.Checks {
		if c.Step == s {
			return c
		}
	}
	return Check{Step: s, State: NotChecked}
}

// decide says what comes of all steps.
func (r *Report) decide() {
	for _, s := range []Step{Signature, SameName, Key, Identity} {
		if r.Of(s).State == Wrong {
			r.Verdict = Foreign
			return
		}
	}
	for _, s := range []Step{Connection, Chain, Document, Signature, SameName, Key, Time, Identity} {
		if r.Of(s).State != OK {
			return
		}
	}
	r.Verdict = Held
}

// leaf looks at the certificate of the connection.
func (r *Report) leaf(c *Config, state *tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	key := statement.KeyOf(leaf)
	r.CertificateKey, r.Issuer, r.NotAfter = hex.EncodeToString(key[:]), leaf.Issuer.String(), leaf.NotAfter
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: c.Name, Roots: c.Roots, Intermediates: between}); err != nil {
		r.note(Chain, Wrong, "%v", err)
	} else {
		r.note(Chain, OK, "until %s, by %s", leaf.NotAfter.UTC().Format(time.DateOnly), r.Issuer)
	}
	r.SCTs = countSCTs(leaf) + len(state.SignedCertificateTimestamps)
	switch r.SCTs {
	case 0:
		r.note(CT, NotChecked, "no signed timestamp of a log came with the certificate")
	default:
		r.note(CT, NotChecked, "%d signed timestamps of logs came with the certificate; their signatures were not checked, and no log was asked", r.SCTs)
	}
}

// said looks at the document, which came over the connection that leaf was shown on.
func (r *Report) said(c *Config, s *statement.Statement, leaf *x509.Certificate) {
	r.Identity, r.PublicKey = s.Label(), base64.StdEncoding.EncodeToString(s.Identity)
	r.Account, r.Time = s.Account, s.Time
	if err := s.Verify(); err != nil {
		r.note(Signature, Wrong, "%v", err)
		return
	}
	r.note(Signature, OK, "by %s", r.Identity)
	if s.Name != c.Name {
		r.note(SameName, Wrong, "the document is about %s", s.Name)
	} else {
		r.note(SameName, OK, "%s", s.Name)
	}
	if s.CertificateKey != statement.KeyOf(leaf) {
		r.note(Key, Wrong, "the certificate has another key than the document names, %x", s.CertificateKey)
	} else {
		r.note(Key, OK, "%s", r.CertificateKey)
	}
	if now := time.Now(); !s.IsFresh(now) {
		r.note(Time, NotChecked, "the document was signed %s, %v from the time here, %s: it may be an old one that is shown again, or a clock is wrong; at most %v is taken for fresh",
			s.Time.Format(time.RFC3339), now.Sub(s.Time).Abs().Round(time.Second), now.UTC().Format(time.RFC3339), statement.Window)
	} else {
		r.note(Time, OK, "signed %s", s.Time.Format(time.RFC3339))
	}
	r.whose(c, s)
}

// whose checks that the identity is the expected one.
func (r *Report) whose(c *Config, s *statement.Statement) {
	about := *s
	about.Name = c.Name
	made, own := about.FromKey()
	switch {
	case made && !own:
		r.note(Identity, Wrong, "the name is made from the key of another device than %s", r.Identity)
	case c.Identity != "" && c.Identity != r.Identity:
		r.note(Identity, Wrong, "the device is %s, and not %s", r.Identity, c.Identity)
	case made:
		r.note(Identity, OK, "the name is made from its key")
	case c.Identity != "":
		r.note(Identity, OK, "it is the one that was given")
	default:
		r.note(Identity, NotChecked, "the name is not made from a key, and no identity was given to compare with")
	}
}

// dns looks at the CAA records.
func (r *Report) dns(ctx context.Context, c *Config, s *statement.Statement) {
	caa, err := c.DNS.CAA(ctx, c.Name)
	signed := ", as the DNS server says, which has not checked signatures (DNSSEC)"
	if caa.Authenticated {
		signed = ", as the DNS server says, which has checked the signatures (DNSSEC)"
	}
	switch {
	case err != nil:
		r.note(CAA, NotChecked, "%v", err)
	case caa.At == "":
		r.note(CAA, NotChecked, "DNS has no CAA record for the name: every CA may issue")
	case s == nil || r.Of(Signature).State != OK:
		r.note(CAA, NotChecked, "there are CAA records at %s, and no account to compare them with", caa.At)
	case s.Account == "":
		r.note(CAA, NotChecked, "there are CAA records at %s, and the document names no ACME account", caa.At)
	case !caa.OnlyFor(s.Account):
		r.note(CAA, NotChecked, "the CAA records at %s let other accounts than %s have a certificate", caa.At, s.Account)
	case !caa.Lets(s.Account, "tls-alpn-01", "http-01"):
		r.note(CAA, Wrong, "the CAA records at %s do not let %s have a certificate", caa.At, s.Account)
	case len(caa.Aliases) > 0:
		r.note(CAA, NotChecked, "the CAA records at %s let only %s have a certificate; but a CNAME leads to %s, whose owner can say otherwise", caa.At, s.Account, caa.Aliases[len(caa.Aliases)-1])
	default:
		r.note(CAA, OK, "the CAA records at %s let only %s have a certificate%s", caa.At, s.Account, signed)
	}
}

// host is what is asked, with the port where it is not the usual one.
func (c *Config) host() string {
	if c.Port == "" || c.Port == "443" {
		return c.Name
	}
	return net.JoinHostPort(c.Name, c.Port)
}
