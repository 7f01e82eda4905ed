package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/domainproof"
	"keystay/internal/proxydial"
	"keystay/remote"
	"keystay/remote/watch/ct"
)

// senses are how a doctor touches the world beyond the configuration and the state
// directory. Tests put others in their place.
type senses struct {
	now    func() time.Time
	proxy  func(hostPort string) (*url.URL, error) // on the way to an address; nil is none
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, address string) (net.Conn, error) // without a proxy
	fetch  func(ctx context.Context, url, address string, roots *x509.CertPool) (*fetched, error)
	link   func(context.Context, remote.Route) (remote.TriedLink, error)
	visit  func(ctx context.Context, name string, port int) ([]acme.Answer, error)
	caa    func(ctx context.Context, name string) (domainproof.CAA, error)
	// records are those of a domain of one's own.
	records func(ctx context.Context, domain string, relays []string) (*records, error)
	ct      func(context.Context, ct.Name) (ct.State, error)
	running func(name string) int // the process that serves a name, or 0
	service func(ctx context.Context, s config.Service, domain string) error
}

// newSenses returns those of a real doctor.
func newSenses(cfg *config.Remote, device remote.DeviceConfig) (senses, error) {
	var dns domainproof.Resolver
	if cfg.DNS != "" {
		server, err := domainproof.ParseServer(cfg.DNS)
		if err != nil {
			return senses{}, err
		}
		dns.Servers = append(dns.Servers, server)
	}
	choose := device.Proxy
	if choose == nil {
		choose = proxydial.FromEnvironment
	}
	dialOut := dialBy(choose, cfg.DNS)
	quiet := slog.New(slog.DiscardHandler)
	keys := acme.OpenKeys(remote.ACMEDir(cfg.StateDir))
	forMonitor, err := ctProxy(cfg)
	if err != nil {
		return senses{}, err
	}
	transparency := ct.New(ct.Config{URL: monitor(cfg), Dir: ctDir(cfg.StateDir), Proxy: forMonitor, Known: keys.Find, Begun: keys.Since})
	maker := newMaker(cfg, quiet)
	return senses{
		now: time.Now,
		proxy: func(hostPort string) (*url.URL, error) {
			return choose(&http.Request{URL: &url.URL{Scheme: "https", Host: hostPort}})
		},
		lookup: lookup(nil),
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			return conn, asked(err, cfg.DNS)
		},
		fetch: func(ctx context.Context, url, address string, roots *x509.CertPool) (*fetched, error) {
			return fetch(ctx, url, roots, func(ctx context.Context, to string) (net.Conn, error) {
				if address != "" {
					to = address
				}
				return dialOut(ctx, to)
			})
		},
		link: func(ctx context.Context, r remote.Route) (remote.TriedLink, error) {
			tried, err := remote.TryLink(ctx, device, r)
			return tried, asked(err, cfg.DNS)
		},
		visit: func(ctx context.Context, name string, port int) ([]acme.Answer, error) {
			r := acme.Rehearsal{Port: func(string) int { return port }, Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) { return dialOut(ctx, a.String()) }}
			return r.Look(ctx, name)
		},
		caa: dns.CAA,
		records: func(ctx context.Context, domain string, relays []string) (*records, error) {
			return recordsNow(ctx, cfg, dns, domain, relays)
		},
		ct:      transparency.Ask,
		running: func(name string) int { return remote.Running(cfg.StateDir, name) },
		service: func(ctx context.Context, s config.Service, domain string) error {
			f, err := maker.front(s, domain)
			if err != nil {
				return err
			}
			return f.check(ctx, domain)
		},
	}, nil
}

// recordsNow looks up the records of a domain without making an identity.
func recordsNow(ctx context.Context, cfg *config.Remote, dns domainproof.Resolver, domain string, relays []string) (*records, error) {
	info, err := remote.PeekIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	accounts, err := acme.Accounts(remote.ACMEDir(cfg.StateDir))
	if err != nil {
		return nil, err
	}
	r, err := lookUp(ctx, dns, domain, info.Label, relays, accounts, cfg.Listen)
	return r, dnsError(err)
}

// maxFetched is how much of an answer is read, in bytes.
const maxFetched = 64 << 10

// fetched is an answer over HTTPS, of whoever gave it.
type fetched struct {
	status  int
	body    []byte
	date    time.Time // zero where it has none
	leaf    *x509.Certificate
	invalid error // why its certificate is not to be trusted
}

// fetch asks for a URL. It takes an answer with a certificate that is not to be trusted,
// since the reason may be this machine's clock, which the answer shows.
func fetch(ctx context.Context, address string, roots *x509.CertPool, dial func(context.Context, string) (net.Conn, error)) (*fetched, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return dial(ctx, to) },
		TLSClientConfig: &tls.Config{
			ServerName: u.Hostname(), MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // verified below, so that the time in the answer is known whatever the clock says
		},
		TLSHandshakeTimeout: stepTimeout, DisableKeepAlives: true, MaxResponseHeaderBytes: maxFetched, ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	f := &fetched{status: resp.StatusCode}
	f.date, _ = http.ParseTime(resp.Header.Get("Date"))
	if f.body, err = io.ReadAll(io.LimitReader(resp.Body, maxFetched)); err != nil {
		return nil, err
	}
	if resp.TLS == nil || len(resp.TLS.PeerCertificates) == 0 {
		return nil, errors.New("there is no certificate")
	}
	f.leaf = resp.TLS.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, cert := range resp.TLS.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, f.invalid = f.leaf.Verify(x509.VerifyOptions{DNSName: u.Hostname(), Roots: roots, Intermediates: between})
	return f, nil
}
