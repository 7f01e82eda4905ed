package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
)

// siblingSays is what a relay says of itself that matters to its siblings.
type siblingSays struct {
	Domain   string   `json:"domain"`
	Siblings []string `json:"siblings"`
}

// siblings looks whether each sibling answers under its name, and lists this relay too.
func (c *checker) siblings(ctx context.Context) []cli.Finding {
	list := make([]cli.Finding, len(c.cfg.Siblings))
	var wg sync.WaitGroup
	for i, s := range c.cfg.Siblings {
		wg.Go(func() {
			says, err := c.senses.sibling(ctx, s)
			if err == nil && says.Domain != s.Name {
				err = fmt.Errorf("the relay of %q answers at %s", says.Domain, s.Dial)
			}
			if err == nil && !slices.Contains(says.Siblings, c.cfg.Domain) {
				err = errors.New("it does not list this relay among its siblings")
			}
			if err != nil {
				list[i] = cli.Amiss("sibling", s.Name, hint.CheckSibling.Error(err, "NAME", c.cfg.Domain))
				return
			}
			list[i] = cli.Fine("sibling", s.Name, "it answers, and lists this relay too")
		})
	}
	wg.Wait()
	return list
}

// askSibling asks a sibling. Its certificate is not looked at: this relay does not when it
// passes visitors on either.
func askSibling(ctx context.Context, s config.Sibling) (says siblingSays, err error) {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.Dial)
		},
		TLSClientConfig: &tls.Config{ServerName: s.Name, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true}, //nolint:gosec // nothing is sent there
	}
	_, err = getJSON(ctx, tr, "https://"+s.Name+"/.well-known/keystay.json", &says)
	return says, err
}
