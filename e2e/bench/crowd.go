//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"keystay/framing"
)

// crowdAtOnce is how many links of a crowd are made at once.
const crowdAtOnce = 32

// crowd is many remotes that have linked to the relay and do nothing but keep
// their links.
func (r *role) crowd(ended <-chan struct{}) error {
	roots, err := r.pool()
	if err != nil {
		return err
	}
	links := make([]*framing.Link, r.Count)
	errs := make(chan error, r.Count)
	gate := make(chan struct{}, crowdAtOnce)
	var wg sync.WaitGroup
	for i := range links {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			l, err := newLink(r.Relay, roots, fmt.Sprintf("idle%d.%s", r.First+i, zone))
			if err != nil {
				errs <- fmt.Errorf("idle link %d: %w", i, err)
				return
			}
			links[i] = l
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	ready(r.Relay)
	lost := make(chan error, r.Count)
	for i, l := range links {
		go func() {
			<-l.Done()
			lost <- fmt.Errorf("idle link %d: %w", i, l.Err())
		}()
	}
	select {
	case err := <-lost:
		return err
	case <-ended:
		return nil
	}
}

// newLink makes a link that holds a name, with an identity of its own.
func newLink(address string, roots *x509.CertPool, name string) (*framing.Link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := tls.Dial("tcp", address, &tls.Config{ServerName: zone, RootCAs: roots, NextProtos: []string{framing.Protocol}})
	if err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	h := framing.Hello{Run: framing.Run{Number: 1}, Agent: "bench"}
	cs := c.ConnectionState()
	if err := h.Sign(key, &cs, zone); err != nil {
		c.Close()
		return nil, err
	}
	l, _, err := framing.Client(ctx, c, h, framing.Handler{})
	if err != nil {
		return nil, err
	}
	if _, err := l.Claim(ctx, framing.Claim{Name: name}); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
