package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"keystay/internal/hint"
	"keystay/internal/proxydial"
)

// dial reaches a relay at a node of it, or at an address that no other link leads to, if
// there is one that answers, else at any.
func (w *way) dial(ctx context.Context, host, port string, to target) (net.Conn, error) {
	addresses := w.addresses
	if len(addresses) == 0 {
		addresses = []string{net.JoinHostPort(host, port)}
	}
	relay := net.JoinHostPort(host, port)
	proxy, err := w.d.cfg.proxy(relay)
	if err != nil {
		return nil, err
	}
	if to != (target{}) {
		return w.dialNode(ctx, proxy, port, to.address)
	}
	if proxy != nil { // it looks names up, and chooses among their addresses
		return (&proxydial.Proxy{URL: proxy}).Dial(ctx, addresses[0])
	}
	dialer := net.Dialer{Timeout: connectTimeout}
	for _, a := range w.unused(ctx, addresses) {
		// A short time each: those that other links use are known to answer.
		short, cancel := context.WithTimeout(ctx, otherAddressTimeout)
		conn, err := dialer.DialContext(short, "tcp", a)
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	var errs []error
	for _, a := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", a)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// connectTimeout is how long one address may take to accept a connection, so
// that one from which nothing comes leaves time for the next, and a relay whose
// host starts is not met by an attempt that waits ever longer.
const connectTimeout = 5 * time.Second

// otherAddressTimeout is how long an address may take to answer that would
// only make the links more diverse.
const otherAddressTimeout = 3 * time.Second

// unused returns the addresses of the relay that no link leads to, if there are
// links at all.
func (w *way) unused(ctx context.Context, addresses []string) (list []string) {
	w.mu.Lock()
	links := maps.Clone(w.links)
	w.mu.Unlock()
	if len(links) == 0 {
		return nil
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			if at := net.JoinHostPort(ip.Unmap().String(), port); links[at] == 0 {
				list = append(list, at)
			}
		}
	}
	return list
}

// direct reports whether a relay is reached without a proxy.
func (w *way) direct(relay string) bool {
	host, port := splitRelay(relay)
	proxy, err := w.d.cfg.proxy(net.JoinHostPort(host, port))
	return err == nil && proxy == nil
}

// throughProxy returns what has ended a connection to a relay, and names the
// proxy on the way there, if there is one: what looks like the relay's or the
// path's doing may be the proxy's.
func (w *way) throughProxy(relay string, err error) error {
	var notTLS tls.RecordHeaderError
	var silent *noAnswerError
	if !isLostHello(err) && !errors.As(err, &notTLS) && !errors.As(err, &silent) {
		return err
	}
	host, port := splitRelay(relay)
	if proxy, perr := w.d.cfg.proxy(net.JoinHostPort(host, port)); perr == nil && proxy != nil {
		return &throughProxyError{proxy: proxydial.Named(proxy), err: err}
	}
	return err
}

// A throughProxyError says what has ended a connection that a proxy had given.
type throughProxyError struct {
	proxy string // as proxydial.Named has it
	err   error
}

// Error implements error.
func (e *throughProxyError) Error() string {
	return fmt.Sprintf("through the proxy %s: %v", e.proxy, e.err)
}

// Unwrap returns what went wrong.
func (e *throughProxyError) Unwrap() error { return e.err }

// Hints says what to do, in one line each.
func (e *throughProxyError) Hints() []string { return hint.ProxyEnds.Do }

// errNoChoice is the error of a relay for which no proxy can be chosen.
var errNoChoice = errors.New("choose a proxy")

// proxy returns the proxy that is to be used for a relay, or nil.
func (c *DeviceConfig) proxy(relay string) (*url.URL, error) {
	choose := c.Proxy
	if choose == nil {
		choose = proxydial.FromEnvironment
	}
	u, err := choose(&http.Request{URL: &url.URL{Scheme: "https", Host: relay}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoChoice, err)
	}
	return u, nil
}
