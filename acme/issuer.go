package acme

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// pollTimeout bounds each wait for the CA to change a state: of a validation,
// of an order.
const pollTimeout = 2 * time.Minute

// issuer is the certmagic.Issuer that orders at one CA.
type issuer struct {
	ca      string // the URL of its directory
	cfg     Config
	magic   *certmagic.Config // with this issuer alone
	log     *slog.Logger      // of the ACME client
	plain   *slog.Logger      // Config.Logger
	http    *http.Client
	store   *storage
	keys    *Keys
	answers *challenges

	directories atomic.Int32 // how often the CA's directory was asked for again
}

var _ certmagic.Issuer = (*issuer)(nil)

// IssuerKey names the CA in paths: its host, and its path with hyphens.
func (i *issuer) IssuerKey() string {
	u, err := url.Parse(i.ca)
	if err != nil {
		return certmagic.StorageKeys.Safe(i.ca)
	}
	key := u.Host
	if p := strings.Trim(strings.NewReplacer("/", "-", `\`, "-").Replace(u.Path), "-"); p != "" {
		key += "-" + p
	}
	return certmagic.StorageKeys.Safe(key)
}

// client returns an ACME client that uses the given kind of validation, none
// if empty.
func (i *issuer) client(kind string) *acmez.Client {
	directory := i.ca
	if n := i.directories.Load(); n > 0 {
		directory += fmt.Sprintf("#%d", n) // not what is remembered under the plain URL
	}
	c := &acmez.Client{Client: &acme.Client{
		Directory:   directory,
		UserAgent:   "keystay",
		HTTPClient:  i.http,
		PollTimeout: pollTimeout,
		Logger:      i.log,
	}}
	if kind != "" {
		c.ChallengeSolvers = map[string]acmez.Solver{kind: solver{i.answers, i}}
	}
	return c
}

// Issue implements [certmagic.Issuer]. The context carries an attempt.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	at := attemptOf(ctx)
	if at == nil {
		return nil, errors.New("acme: order without an attempt")
	}
	cert, err := i.issue(ctx, csr, at)
	defer func() { at.err = err }()
	if err != nil && at.gone {
		// The ACME client remembers the directory for hours, in which the CA
		// may have been set up anew.
		at.gone = false
		i.directories.Add(1)
		cert, err = i.issue(ctx, csr, at)
	}
	return cert, err
}

// issue makes one order, or a second one where the account is to blame.
func (i *issuer) issue(ctx context.Context, csr *x509.CertificateRequest, at *attempt) (*certmagic.IssuedCertificate, error) {
	key := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if err := i.keys.Note(strings.Join(csr.DNSNames, " "), key); err != nil {
		at.file = fmt.Errorf("note the key that a certificate is asked for: %w", err)
		return nil, at.file
	}
	client := i.client(at.kind)
	refused, refusal := "", error(nil)
	for {
		acct, err := i.account(ctx, client, refused)
		if err != nil {
			return nil, err
		}
		if refusal != nil && acct.Location == refused {
			return nil, refusal // which was not for the account: the CA has just confirmed it
		}
		params, err := acmez.OrderParametersFromCSR(acct, csr)
		if err != nil {
			return nil, fmt.Errorf("make order: %w", err)
		}
		params.Replaces = at.replaces
		chains, err := client.ObtainCertificate(ctx, params)
		if refusal == nil && ofAccount(err) {
			refused, refusal = acct.Location, err
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(chains) == 0 {
			return nil, errors.New("the CA sent no certificate")
		}
		return &certmagic.IssuedCertificate{Certificate: chains[0].ChainPEM, Metadata: chains[0]}, nil
	}
}

// ofAccount reports whether a CA may have refused err's order because what is
// stored of the account does not hold there: the CA was set up anew, the
// account was deactivated, or its key is another one now. CAs answer all three
// with any of these.
func ofAccount(err error) bool {
	var p acme.Problem
	if !errors.As(err, &p) {
		return false
	}
	if _, ofValidation := p.Resource.(acme.Authorization); ofValidation {
		return false
	}
	switch p.Type {
	case acme.ProblemTypeAccountDoesNotExist, acme.ProblemTypeUnauthorized, acme.ProblemTypeMalformed,
		acme.ProblemTypeBadPublicKey, acme.ProblemTypeBadSignatureAlgorithm:
		return true
	}
	return false
}

// kinds lists the kinds of validation that can arrive, the preferred one first.
func (i *issuer) kinds() []string {
	var kinds []string
	if !i.cfg.NoTLSALPN01 {
		kinds = append(kinds, acme.ChallengeTypeTLSALPN01)
	}
	if !i.cfg.NoHTTP01 {
		kinds = append(kinds, acme.ChallengeTypeHTTP01)
	}
	return kinds
}
