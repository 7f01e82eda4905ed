package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/hint"
	"keystay/internal/plain"
)

// maxDetail is how much of a CA's own words an error repeats, in bytes. The
// whole of them is in the log at debug.
const maxDetail = 300

// A Failure is why a CA gave no certificate, in one line for people. Find it in
// Event.Err with errors.As, and in it a *Problem or a *FileError.
type Failure struct {
	// CA is the host of the CA's directory, with its port if it has one.
	CA string

	// Err is the cause.
	Err error

	text  string
	hints []string
}

// Error returns what went wrong, in one line.
func (f *Failure) Error() string { return f.text }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Hints says what to do, in one line each.
func (f *Failure) Hints() []string { return f.hints }

// newFailure tells why the attempt at the CA with this directory failed.
func newFailure(ca string, at *attempt, err error) *Failure {
	f := &Failure{CA: ca, Err: err}
	if u, perr := url.Parse(ca); perr == nil {
		f.CA = u.Host
	}
	var problem acme.Problem
	var outside *url.Error
	var rehearsed *RehearsalError
	switch {
	case at.file != nil:
		f.Err, f.text = at.file, at.file.Error() // with hints of its own
	case errors.As(err, &rehearsed):
		f.Err, f.text = rehearsed, rehearsed.Error() // with hints of its own
	case errors.As(err, &problem):
		f.refused(asProblem(problem, at), at)
	case errors.As(err, &outside):
		f.away(outside.Err)
	case errors.Is(err, context.DeadlineExceeded): // of the whole order
		f.away(errors.New("it does not answer"))
	case at.status >= http.StatusInternalServerError:
		f.text, f.hints = fmt.Sprintf("the CA %s has trouble of its own: HTTP %d", f.CA, at.status), hint.CATrouble.Do
	case at.atDirectory:
		f.text, f.hints = ca+" is no ACME directory: "+answered(at.status), hint.CANoDirectory.Do
	default:
		f.text = oneLine(err.Error())
	}
	return f
}

// answered says what a server answered that is no CA.
func answered(status int) string {
	if status < http.StatusBadRequest {
		return "what it answers is something else"
	}
	return fmt.Sprintf("it answers with HTTP %d", status)
}

// away fills f in for a CA that did not answer.
func (f *Failure) away(err error) {
	f.text = "the CA " + f.CA + " cannot be reached: " + oneLine(err.Error())
	var (
		plain   *notHTTPSError
		proxy   *proxyError
		named   *namedProxyError
		op      *net.OpError
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		pairs   = []string{"HOST", f.CA, "NOW", time.Now().Format(time.RFC3339)}
	)
	advice := hint.CAAway
	switch {
	case errors.As(err, &plain):
		f.text, advice = plain.Error(), hint.CANotHTTPS
	case errors.As(err, &proxy):
		advice = proxy.advice()
	case errors.As(err, &op) && op.Op == "proxyconnect":
		advice = hint.CAProxyAway
	case errors.As(err, &op) && strings.HasPrefix(op.Op, "socks"): // it was reached
		advice = hint.CAProxySOCKS
	case errors.As(err, &op) && op.Op == "remote error", errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		advice = hint.CAOtherName // it speaks no TLS, or not for this name
	case errors.As(err, &unknown):
		advice = hint.CAUntrusted
	case errors.As(err, &name):
		advice = hint.CAOtherName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		advice = hint.CAOtherClock
	}
	if errors.As(err, &named) && named.variable != "" {
		pairs = append(pairs, "HTTPS_PROXY", named.variable)
	}
	f.hints = advice.With(pairs...)
}

// refused fills f in for a CA that answered with a problem.
func (f *Failure) refused(p *Problem, at *attempt) {
	f.Err, f.text = p, p.Error()
	switch p.Type {
	case "rateLimited":
		f.hints = hint.CALimit.Do
	case "externalAccountRequired":
		f.hints = hint.CABinding.Do
	case "userActionRequired":
		f.hints = hint.CATerms.With("PAGE", p.Instance)
	case "invalidContact", "unsupportedContact":
		f.hints = hint.CAContact.Do
	case "rejectedIdentifier", "unsupportedIdentifier":
		f.hints = hint.CANoName.Do
	case "caa":
		f.hints = hint.NameForbidden.Do
	case "dns":
		f.hints = hint.NameNowhere.Do
	case "serverInternal":
		f.hints = hint.CATrouble.Do
	}
	switch {
	case f.hints != nil:
	case at.binding:
		f.text = "the CA did not take the external account: " + p.Type + ": " + p.Detail
		f.hints = hint.CAWrongBinding.Do
	case p.ofValidation:
		f.hints = hint.NameElsewhere.Do
	case p.Status >= http.StatusInternalServerError:
		f.hints = hint.CATrouble.Do
	}
}

// A Problem is a CA's refusal as it put it (RFC 8555 section 6.7). Find it in
// Event.Err with errors.As.
type Problem struct {
	// Type is the last part of the problem's type: "rateLimited", "caa",
	// "connection" and so on.
	Type string
	// Status is the HTTP status of the answer, 0 where there is none.
	Status int
	// Detail is the CA's explanation for people, in one line of at most 300
	// bytes.
	Detail string
	// Instance is the URL of a page about it, or empty.
	Instance string
	// RetryAfter is how long the CA asks to be left alone, 0 if it does not say.
	RetryAfter time.Duration

	ofValidation bool // the CA asked this machine and did not get its answer
}

// Error implements error.
func (p *Problem) Error() string {
	s := "the CA refused: " + p.Type
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.RetryAfter > 0 {
		s += "; it asks to wait until " + time.Now().Add(p.RetryAfter).Format(time.RFC3339)
	}
	return s
}

// asProblem returns p in the CA's own words.
func asProblem(p acme.Problem, at *attempt) *Problem {
	_, ofValidation := p.Resource.(acme.Authorization)
	detail := p.Detail
	for _, sub := range p.Subproblems {
		if sub.Detail != "" && !strings.Contains(detail, sub.Detail) {
			detail = strings.TrimPrefix(detail+"; "+sub.Detail, "; ")
		}
	}
	kind := strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)
	if kind == "compound" && len(p.Subproblems) > 0 {
		kind = strings.TrimPrefix(p.Subproblems[0].Type, acme.ProblemTypeNamespace)
	}
	return &Problem{
		Type:         oneLine(kind),
		Status:       p.Status,
		Detail:       oneLine(detail),
		Instance:     oneLine(p.Instance),
		RetryAfter:   at.retryAfter,
		ofValidation: ofValidation,
	}
}

// notArrived reports whether an order failed because its validation did not get
// through, or would not have, which one of the other kind may.
func notArrived(err error) bool {
	if errors.As(err, new(*RehearsalError)) {
		return true
	}
	var p acme.Problem
	if !errors.As(err, &p) {
		return false
	}
	_, ofValidation := p.Resource.(acme.Authorization)
	return ofValidation && p.Type != acme.ProblemTypeCAA && p.Type != acme.ProblemTypeDNS
}

// oneLine returns s in one line of at most maxDetail bytes that only prints.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(plain.Text(s)), " ")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

// failures are those of several CAs for one name.
type failures []error

// Error returns them in one line.
func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.As find each.
func (f failures) Unwrap() []error { return f }
