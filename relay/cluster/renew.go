package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

const (
	// renewEvery is how often it is tried to renew a certificate that is due, and
	// lookEvery how often it is looked whether its files have changed.
	renewEvery, lookEvery = time.Hour, time.Minute
	// warnBefore is how long before its end an operator is told that a certificate is
	// not renewed, and warnEvery how often.
	warnBefore, warnEvery = 30 * 24 * time.Hour, 24 * time.Hour
)

// A renewal says when this node's certificate is to be renewed, and when the operator
// hears that it was not.
type renewal struct {
	credentials *Credentials
	log         *slog.Logger

	looked, tried time.Time // by due alone
	running       places

	mu     sync.Mutex
	warned time.Time
}

// due takes up files that have changed, and reports whether the certificate is to be
// renewed now. Then a place of running is taken.
func (r *renewal) due(now time.Time) bool {
	if now.Sub(r.looked) < lookEvery {
		return false
	}
	r.looked = now
	if changed, err := r.credentials.Reload(); err != nil {
		r.warn(now, err)
	} else if changed {
		r.log.Info("this node's certificate is taken up anew", "until", r.credentials.Ends())
	}
	if !r.credentials.isDue(now) || now.Sub(r.tried) < renewEvery || !r.running.enter(1) {
		return false
	}
	r.tried = now
	return true
}

// warn tells the operator that the certificate is not renewed.
func (r *renewal) warn(now time.Time, err error) {
	r.mu.Lock()
	due := now.Sub(r.warned) >= warnEvery && r.credentials.Ends().Sub(now) < warnBefore
	if due {
		r.warned = now
	}
	r.mu.Unlock()
	if due {
		r.log.Error("this node's certificate is not renewed; when it ends, other nodes refuse this one", "until", r.credentials.Ends(), "err", err, hint.Attr(hint.NodeCertificate.Do))
	}
}

// renewWhenDue renews this node's certificate where that is to be done.
func (c *Cluster) renewWhenDue() {
	r, now := &c.renewal, time.Now()
	if !r.due(now) {
		return
	}
	c.wg.Go(func() {
		defer r.running.leave()
		defer c.panics.Catch("renewing this node's certificate", func() {})
		if err := c.renew(); err != nil {
			r.warn(now, err)
		}
	})
}

// renew gets a new certificate for the node's key: from itself where it is the CA, else
// from a node that is.
func (c *Cluster) renew() error {
	l := c.Credentials.now.Load()
	var cert []byte
	err := errNoAuthority
	if c.Authority != nil {
		cert, err = c.Authority.issue(c.Node, l.cert.Leaf.PublicKey)
	} else {
		for _, p := range c.connected() {
			if cert, err = c.renewAt(p.node); err == nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	if err := ownfile.Write(c.Credentials.files.Cert, cert); err != nil {
		return err
	}
	if _, err := c.Credentials.Reload(); err != nil {
		return err
	}
	c.log.Info("this node's certificate is renewed", "until", c.Credentials.Ends())
	return nil
}

func (c *Cluster) renewAt(node string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, joinTimeout)
	defer cancel()
	tc, err := c.dial(ctx, node, ProtocolJoin)
	if err != nil {
		return nil, err
	}
	defer tc.NetConn().Close()
	q := joinQuestion{Node: c.Node}
	a, err := q.ask(tc, c.Credentials.now.Load().cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	return a.Cert, nil
}
