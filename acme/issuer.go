package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// pollTimeout bounds each wait for the CA to change a state: of a validation,
// of an order.
const pollTimeout = 2 * time.Minute

// issuer is the certmagic.Issuer that orders at the CA.
type issuer struct {
	cfg     Config
	log     *slog.Logger
	http    *http.Client
	store   *storage
	answers *challenges
}

var _ certmagic.Issuer = (*issuer)(nil)

// IssuerKey names the CA in paths: its host, and its path with hyphens.
func (i *issuer) IssuerKey() string {
	u, err := url.Parse(i.cfg.CA)
	if err != nil {
		return certmagic.StorageKeys.Safe(i.cfg.CA)
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
	c := &acmez.Client{Client: &acme.Client{
		Directory:   i.cfg.CA,
		UserAgent:   "keystay",
		HTTPClient:  i.http,
		PollTimeout: pollTimeout,
		Logger:      i.log,
	}}
	if kind != "" {
		c.ChallengeSolvers = map[string]acmez.Solver{kind: i.answers}
	}
	return c
}

// Issue implements [certmagic.Issuer]. The context carries an attempt.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	at := attemptOf(ctx)
	if at == nil {
		return nil, errors.New("acme: order without an attempt")
	}
	client := i.client(at.kind)
	for again := false; ; again = true {
		acct, err := i.account(ctx, client)
		if err != nil {
			return nil, err
		}
		params, err := acmez.OrderParametersFromCSR(acct, csr)
		if err != nil {
			return nil, fmt.Errorf("make order: %w", err)
		}
		params.Replaces = at.replaces
		chains, err := client.ObtainCertificate(ctx, params)
		var problem acme.Problem
		if !again && errors.As(err, &problem) && problem.Type == acme.ProblemTypeAccountDoesNotExist {
			// The CA was set up anew. The key stays, so that what names the
			// account by its key still does.
			if err := i.forgetAccount(ctx); err != nil {
				return nil, fmt.Errorf("forget account: %w", err)
			}
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

// A Problem is a CA's refusal as it put it (RFC 8555 section 6.7). Find it in
// Event.Err with errors.As.
type Problem struct {
	// Type is the last part of the problem's type: "rateLimited", "caa",
	// "connection" and so on.
	Type string
	// Status is the HTTP status of the answer, 0 where there is none.
	Status int
	// Detail is the CA's explanation for people.
	Detail string
	// RetryAfter is how long the CA asks to be left alone, 0 if it does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (p *Problem) Error() string {
	s := "the CA refused: " + p.Type
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// notArrived reports whether an order failed because its validation did not get
// through, which one of the other kind may.
func notArrived(err error) bool {
	var p acme.Problem
	if !errors.As(err, &p) {
		return false
	}
	_, ofValidation := p.Resource.(acme.Authorization)
	return ofValidation && p.Type != acme.ProblemTypeCAA && p.Type != acme.ProblemTypeDNS
}

// asProblem returns err with the CA's own words, where it has any, as a Problem.
func asProblem(err error, at *attempt) error {
	var p acme.Problem
	if !errors.As(err, &p) {
		return err
	}
	return &Problem{
		Type:       strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace),
		Status:     p.Status,
		Detail:     p.Detail,
		RetryAfter: at.retryAfter,
	}
}
