package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// An Answer is what one address of a name shows a visitor.
type Answer struct {
	Address  netip.AddrPort
	Leaf     *x509.Certificate // nil where there was no TLS handshake
	Why      string            // then, in words that follow the address, as in "refuses connections"
	Away     bool              // no connection came about at all
	Unrouted bool              // this machine has no way to such addresses
}

// Look asks each address that DNS gives for the name what it shows, as the rehearsal of
// a validation does, but as a visitor: a validation is answered only while it is under
// way. The chains are not verified. The error is why no address was asked.
func (r *Rehearsal) Look(ctx context.Context, name string) ([]Answer, error) {
	name, err := normalize(name)
	if err != nil {
		return nil, err
	}
	addresses, err := r.addresses(ctx, acme.Challenge{Type: acme.ChallengeTypeTLSALPN01, Identifier: acme.Identifier{Type: "dns", Value: name}})
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(addresses))
	var wg sync.WaitGroup
	for n, address := range addresses {
		wg.Go(func() {
			leaf, err := r.visit(ctx, name, address)
			answers[n] = Answer{Address: address, Leaf: leaf}
			if err != nil {
				answers[n].Why, answers[n].Away, answers[n].Unrouted = whyNot(err), isAway(err), isUnrouted(err)
			}
		})
	}
	wg.Wait()
	return answers, nil
}

// visit returns what one address shows.
func (r *Rehearsal) visit(ctx context.Context, name string, address netip.AddrPort) (leaf *x509.Certificate, err error) {
	err = r.at(ctx, address, func(ctx context.Context, conn net.Conn) error {
		c := tls.Client(conn, &tls.Config{
			ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // it is the key that counts here, and the caller compares it
		})
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		leaf = c.ConnectionState().PeerCertificates[0]
		return nil
	})
	return leaf, err
}

// A Stored is the certificate for a name that is in a folder.
type Stored struct {
	Leaf *x509.Certificate
	Due  time.Time // when it is replaced; not after now is that it is due
	Why  string    // why it is due then
}

// LookUp returns the certificate for a name that a Keeper with this configuration would
// use. It changes nothing. The error wraps ErrNoCertificate where there is none, or tells
// which one cannot be used.
func LookUp(cfg Config, name string) (Stored, error) {
	name, err := normalize(name)
	if err != nil {
		return Stored{}, err
	}
	if cfg.CA == "" {
		cfg.CA = LetsEncrypt
	}
	store := newStorage(cfg.Dir)
	var best *stored
	var errs error
	for _, ca := range append([]string{cfg.CA}, cfg.OtherCAs...) {
		s, err := store.load(context.Background(), &issuer{ca: ca, cfg: cfg}, name)
		errs = errors.Join(errs, err)
		best = better(best, s)
	}
	if best == nil {
		return Stored{}, errors.Join(errs, ErrNoCertificate)
	}
	why, at := due(best, time.Now())
	return Stored{Leaf: best.cert.Leaf, Due: at, Why: why}, nil
}
