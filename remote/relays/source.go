package relays

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/plain"
	"keystay/internal/relaylist"
)

// A Source is where a list comes from.
type Source struct {
	List string          // an https URL, an http URL of this machine, or a file
	Keys []relaylist.Key // of which one must have signed it; empty is the one that was kept, and at first any

	// Dial connects to host:port, for a URL; nil dials without a proxy.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Roots are trusted for the certificate of the URL's host; nil means the system's.
	Roots *x509.CertPool
}

const (
	// fetchTimeout is how long the list may take to come.
	fetchTimeout = 15 * time.Second
	// maxRedirects is how often its URL may lead elsewhere.
	maxRedirects = 3
)

// Fetch returns the list. Its form is checked, and nothing else: see [Trust].
func (s *Source) Fetch(ctx context.Context) (*relaylist.List, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	read := s.read
	if relaylist.IsURL(s.List) {
		read = s.get
	}
	b, err := read(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch the list %s: %w", s.List, err)
	}
	l, err := relaylist.Parse(b)
	if err != nil {
		return nil, hint.ListBroken.Error(fmt.Errorf("%s: %w", s.List, err))
	}
	return l, nil
}

func (s *Source) read(context.Context) ([]byte, error) {
	f, err := os.Open(s.List)
	if err != nil {
		return nil, ownfile.Explain(err, s.List)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, relaylist.MaxSize+1))
	return ownfile.Text(b), err
}

func (s *Source) get(ctx context.Context) ([]byte, error) {
	dial := s.Dial
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	web := &http.Transport{
		DialContext:     func(ctx context.Context, _, to string) (net.Conn, error) { return dial(ctx, to) },
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Roots}, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true,
	}
	client := &http.Client{Transport: web, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("it leads on and on")
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" { // also to this machine, which the list's server has nothing to ask of
			return errors.New("it leads from https to http")
		}
		return relaylist.CheckURL(r.URL.String())
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.List, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "keystay")
	resp, err := client.Do(req)
	if err != nil {
		var failed *url.Error // which repeats the URL
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, hint.ListAway.Error(plain.Error(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, hint.ListAway.Error(fmt.Errorf("HTTP %d", resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, relaylist.MaxSize+1))
	return b, hint.ListAway.Error(err)
}
