package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"keystay/acme"
	"keystay/internal/cli"
	"keystay/internal/hint"
)

// endsSoon is how long before its end a certificate should have been renewed.
const endsSoon = 7 * 24 * time.Hour

// certificate looks at the relay's own: that of the relay that runs, or the files.
func (c *checker) certificate() []cli.Finding {
	if c.cfg.TLS.CertFile != "" {
		files, err := acme.LoadFiles(c.cfg.TLS.CertFile, c.cfg.TLS.KeyFile, c.cfg.Domain)
		if err != nil {
			return []cli.Finding{cli.Amiss("certificate", c.cfg.TLS.CertFile, err)}
		}
		var list []cli.Finding
		for _, err := range files.Unfit(c.cfg.Domain, c.senses.now()) {
			list = append(list, cli.Amiss("certificate", c.cfg.TLS.CertFile, err))
		}
		if err := files.Incomplete(nil); err != nil {
			list = append(list, cli.Note("certificate", c.cfg.TLS.CertFile, err))
		}
		if len(list) == 0 {
			list = append(list, cli.Fine("certificate", c.cfg.TLS.CertFile, "it is for %s, and valid", c.cfg.Domain))
		}
		return list
	}
	if c.running != nil && c.running.CertificateUntil != nil {
		return []cli.Finding{c.until(*c.running.CertificateUntil)}
	}
	until, err := storedCertificate(filepath.Join(c.cfg.StateDir, "acme"), c.cfg.Domain)
	if err != nil {
		return []cli.Finding{cli.NotRun("certificate", c.cfg.Domain, "there is none yet: it is ordered at the start")}
	}
	return []cli.Finding{c.until(until)}
}

func (c *checker) until(t time.Time) cli.Finding {
	switch left := t.Sub(c.senses.now()); {
	case left <= 0:
		return cli.Amiss("certificate", c.cfg.Domain, hint.CheckCertificate.Error(fmt.Errorf("it has expired on %s", t.Format(time.DateOnly))))
	case left < endsSoon:
		return cli.Amiss("certificate", c.cfg.Domain, hint.CheckCertificate.Error(fmt.Errorf("it ends in %s, and was to be renewed by now", span(left))))
	default:
		return cli.Fine("certificate", c.cfg.Domain, "until %s, in %s", t.Format(time.DateOnly), span(left))
	}
}

// storedCertificate returns until when the newest certificate in dir is valid.
func storedCertificate(dir, domain string) (until time.Time, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "certificates", "*", domain, domain+".crt"))
	if err == nil && len(files) == 0 {
		err = os.ErrNotExist
	}
	for _, file := range files {
		b, rerr := os.ReadFile(file)
		if rerr != nil {
			err = rerr
			continue
		}
		block, _ := pem.Decode(b)
		if block == nil {
			continue
		}
		if cert, perr := x509.ParseCertificate(block.Bytes); perr == nil && cert.NotAfter.After(until) {
			until = cert.NotAfter
		}
	}
	if until.IsZero() && err == nil {
		err = os.ErrNotExist
	}
	return until, err
}
