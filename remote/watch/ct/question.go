package ct

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"keystay/internal/plain"
	"keystay/internal/proxydial"
)

const (
	// questionTimeout bounds one page, from dialling to its last byte.
	questionTimeout = time.Minute
	dialTimeout     = 10 * time.Second

	// maxPage is the longest page that is read, in bytes, and maxIssuances how many
	// issuances of one are taken. What is beyond is asked for with the next page.
	maxPage, maxIssuances = 8 << 20, 1000
	// maxComplaint is how much is read of an answer that is none.
	maxComplaint = 4 << 10
	// maxStatus is how much of its status is told, in bytes.
	maxStatus = 100

	// maxID is the longest id of an issuance, in bytes.
	maxID = 256

	// maxRetryAfter is the longest wait that a monitor can ask for.
	maxRetryAfter = 24 * time.Hour
)

// An issuance is what a monitor says of a certificate. Nothing but these two is looked
// at.
type issuance struct {
	ID  string `json:"id"`
	DER []byte `json:"cert_der"` // base64 in JSON
}

// An answerError is an answer that is none.
type answerError struct {
	status     string
	complaint  string        // of the monitor, in one line
	retryAfter time.Duration // for how long nothing more is to be asked, 0 where it does not say
	limited    bool          // too many questions were asked
}

// Error implements error.
func (e *answerError) Error() string {
	text := "the monitor answers " + e.status
	if e.complaint != "" {
		text += ": " + e.complaint
	}
	return text
}

// newClient returns the client for the monitor. It follows no redirect.
func newClient(roots *x509.CertPool, proxy func(*http.Request) (*url.URL, error)) *http.Client {
	if proxy == nil {
		proxy = proxydial.FromEnvironment
	}
	return &http.Client{
		Timeout:       questionTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // an hour lies between two questions
			ForceAttemptHTTP2:      true,
		},
	}
}

// question asks for one page: what the monitor has found for a domain after an issuance,
// or from the beginning. It returns what of the page could be read, also with an error,
// and for how long the monitor wants not to be asked.
func (w *Watch) question(ctx context.Context, domain, after string) (list []issuance, wait time.Duration, err error) {
	u, err := url.Parse(w.cfg.URL)
	if err != nil {
		return nil, 0, err
	}
	q := u.Query()
	q.Set("domain", domain)
	// The device has this name alone: those below it are not its own to ask for.
	q.Set("include_subdomains", "false")
	q.Set("match_wildcards", "true")
	q.Add("expand", "dns_names")
	q.Add("expand", "cert_der")
	if after != "" {
		q.Set("after", after)
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", "keystay")
	req.Header.Set("Accept", "application/json")
	resp, err := w.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the question
		}
		return nil, 0, fmt.Errorf("the monitor cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	wait = retryAfter(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusOK {
		return nil, wait, complaint(resp, wait)
	}
	list, err = readPage(resp.Body)
	return list, wait, err
}

// complaint reads an answer that is none.
func complaint(resp *http.Response, wait time.Duration) error {
	var said struct {
		Message string `json:"message"`
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxComplaint))
	_ = json.Unmarshal(b, &said)
	return &answerError{
		status: plain.Cut(plain.Text(resp.Status), maxStatus), complaint: plain.Text(said.Message[:min(len(said.Message), 200)]), retryAfter: wait,
		limited: resp.StatusCode == http.StatusTooManyRequests,
	}
}

// readPage reads a list of issuances. With an error it returns those that came before it.
func readPage(body io.Reader) (list []issuance, err error) {
	limited := &io.LimitedReader{R: body, N: maxPage + 1}
	wrong := func(err error) error {
		if limited.N <= 0 {
			return fmt.Errorf("the monitor's answer is longer than %d bytes", maxPage)
		}
		return fmt.Errorf("the monitor's answer cannot be read: %w", err)
	}
	dec := json.NewDecoder(limited)
	if t, err := dec.Token(); err != nil {
		return nil, wrong(err)
	} else if t != json.Delim('[') {
		return nil, errors.New("the monitor's answer is no list")
	}
	for dec.More() {
		if len(list) == maxIssuances {
			return list, nil
		}
		var i issuance
		if err := dec.Decode(&i); err != nil {
			return list, wrong(err)
		}
		if i.ID == "" || len(i.ID) > maxID {
			return list, errors.New("the monitor's answer has an issuance without an id that can be used")
		}
		list = append(list, i)
	}
	if _, err := dec.Token(); err != nil {
		return list, wrong(err)
	}
	return list, nil
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3).
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(t), 0), maxRetryAfter)
	}
	return 0
}
