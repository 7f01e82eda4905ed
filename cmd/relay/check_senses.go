package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/internal/proxydial"
	"keystay/relay/operator"
)

// senses are how a checker touches what is beyond the configuration and the state
// directory. Tests put others in their place.
type senses struct {
	now         func() time.Time
	status      func(context.Context) (*operator.Status, error)
	resolvers   []resolver
	addresses   func() []string // of this machine
	directory   func(ctx context.Context, url string) (directory, error)
	about       func(ctx context.Context, addr string) (domain string, err error)
	connects    func(ctx context.Context, addr string) error
	sibling     func(context.Context, config.Sibling) (siblingSays, error)
	descriptors func(pid int) (n int, ok bool) // 0 is this process
	sysctl      func(key string) (value string, ok bool)
}

// A resolver asks one DNS server, or without a name those of the system.
type resolver struct {
	name string
	host func(ctx context.Context, name string) (domainproof.Host, error)
	caa  func(ctx context.Context, name string) (domainproof.CAA, error)
}

// A directory is what a CA says of itself.
type directory struct {
	url   string
	clock time.Time
	names []string // as CAA records have it
}

// letsEncrypt is the CA where none is named.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func newSenses(cfg *config.Relay) senses {
	s := senses{
		now: time.Now,
		status: func(ctx context.Context) (*operator.Status, error) {
			ctx, cancel := context.WithTimeout(ctx, stepTime)
			defer cancel()
			var st operator.Status
			err := operator.NewClient(operator.SocketPath(cfg.StateDir)).Get(ctx, "/v1/status", nil, &st)
			return &st, err
		},
		addresses: ownAddresses,
		directory: func(ctx context.Context, url string) (directory, error) {
			return askDirectory(ctx, url, cfg.ACME.CARoot)
		},
		about:       func(ctx context.Context, addr string) (string, error) { return askRelay(ctx, addr, cfg) },
		sibling:     askSibling,
		descriptors: maxDescriptors,
		sysctl:      sysctl,
		connects: func(ctx context.Context, addr string) error {
			ctx, cancel := context.WithTimeout(ctx, stepTime)
			defer cancel()
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				c.Close()
			}
			return err
		},
	}
	add := func(name string, servers ...netip.AddrPort) {
		r := &domainproof.Resolver{Servers: servers}
		s.resolvers = append(s.resolvers, resolver{name, r.Host, r.CAA})
	}
	for _, name := range cfg.Names.Resolvers {
		if a, err := domainproof.ParseServer(name); err == nil { // as config has checked
			add(name, a)
		}
	}
	if len(s.resolvers) == 0 {
		add("")
	}
	return s
}

func isPermission(err error) bool { return errors.Is(err, os.ErrPermission) }

// ownAddresses are those of this machine's interfaces.
func ownAddresses() (list []string) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().Unmap().WithZone("").String())
		}
	}
	return list
}

// maxDirectory is the most that is read of a CA's directory, or of what a relay says of
// itself, in bytes.
const maxDirectory = 64 << 10

// askDirectory asks a CA.
func askDirectory(ctx context.Context, url, roots string) (d directory, err error) {
	d.url = cmp.Or(url, letsEncrypt)
	if d.url == letsEncrypt {
		d.names = []string{"letsencrypt.org"}
	}
	pool, err := cli.Roots("acme.ca_root", roots)
	if err != nil {
		return d, err
	}
	tr := &http.Transport{Proxy: proxydial.FromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	var meta struct {
		NewOrder string `json:"newOrder"`
		Meta     struct {
			CAA []string `json:"caaIdentities"`
		} `json:"meta"`
	}
	header, err := getJSON(ctx, tr, d.url, &meta)
	if err == nil && meta.NewOrder == "" {
		err = errors.New("what answers there is no ACME directory")
	}
	if err != nil {
		return d, hint.CAAway.Error(fmt.Errorf("the CA cannot be reached: %w", err), "HOST", host(d.url))
	}
	if len(meta.Meta.CAA) > 0 {
		d.names = meta.Meta.CAA
	}
	d.clock, err = http.ParseTime(header.Get("Date"))
	if err != nil {
		d.clock = time.Now()
	}
	return d, nil
}

// host is that of a URL.
func host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}

// askRelay asks the relay at an address which domain it has. Its certificate is looked
// at where a CA that everybody trusts has issued it.
func askRelay(ctx context.Context, addr string, cfg *config.Relay) (domain string, err error) {
	known := cfg.ACME.CA == "" && cfg.TLS.CertFile == ""
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		TLSClientConfig: &tls.Config{ServerName: cfg.Domain, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: !known}, //nolint:gosec // nothing is sent there, and a private CA's roots are not known
	}
	var says struct {
		Domain string `json:"domain"`
	}
	_, err = getJSON(ctx, tr, "https://"+cfg.Domain+"/.well-known/keystay.json", &says)
	return says.Domain, err
}

// getJSON asks for a document, in stepTime.
func getJSON(ctx context.Context, tr *http.Transport, url string, v any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDirectory)).Decode(v); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return resp.Header, nil
}
