package main

import (
	"context"
	"errors"
	"time"

	"keystay/internal/hint"
)

// judge warns of what others will refuse about the certificate that was brought.
func (c *ownCert) judge() {
	for _, err := range c.files.Unfit(c.domain, time.Now()) {
		c.log.Warn("remotes and visitors will refuse the certificate", "err", err, hint.Attr(hint.All(err)))
	}
	if err := c.files.Incomplete(nil); err != nil {
		c.log.Warn("remotes may refuse the certificate", "err", err, hint.Attr(hint.All(err)))
	}
}

// fit returns what others will refuse about the certificate now, or nil.
func (c *ownCert) fit() error { return errors.Join(c.files.Unfit(c.domain, time.Now())...) }

// waitFit returns nil once others will take the certificate, or the error of
// ctx once that has ended. A certificate may also become valid where it is: it
// is looked at once a minute.
func (c *ownCert) waitFit(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for c.fit() != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.anew:
		case <-tick.C:
			_, _ = c.files.Reload() // which tells
		}
	}
	return nil
}

// told logs that the files of the certificate have changed. Err is why they are
// not in use.
func (c *ownCert) told(err error) {
	if err != nil {
		c.log.Error("the new certificate is not in use; the one from before is", "err", err, hint.Attr(hint.All(err)))
		return
	}
	c.log.Info("certificate reloaded", "name", c.domain)
	c.judge()
	select {
	case c.anew <- struct{}{}:
	default:
	}
}

// reload looks at the files of the certificate, if there are any.
func (c *ownCert) reload() bool {
	if c.files == nil {
		return false
	}
	switch changed, err := c.files.Reload(); {
	case changed:
	case err != nil:
		c.log.Warn("the certificate's files have not changed, and are not in use", "err", err, hint.Attr(hint.All(err)))
	default:
		c.log.Info("the certificate's files have not changed")
	}
	return true
}
