package main

import (
	"time"

	"keystay/internal/hint"
)

// judge warns of what others will refuse about the certificate that was brought.
func (c *ownCert) judge() {
	for _, err := range c.files.Unfit(c.domain, time.Now()) {
		c.log.Warn("remotes and visitors will refuse the certificate", "err", err, hint.Attr(hint.All(err)))
	}
	if err := c.files.Incomplete(); err != nil {
		c.log.Warn("remotes may refuse the certificate", "err", err, hint.Attr(hint.All(err)))
	}
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
}

// reload looks at the files of the certificate, if there are any.
func (c *ownCert) reload() bool {
	if c.files == nil {
		return false
	}
	if changed, err := c.files.Reload(); !changed {
		c.log.Info("the certificate's files have not changed", "err", err)
	}
	return true
}
