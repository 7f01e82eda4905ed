package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"keystay/config"
	"keystay/internal/testca"
)

// A certificate from files that remotes will refuse is told at the start.
func TestUnfitCertificateIsTold(t *testing.T) {
	var cfg config.Relay
	cfg.TLS.CertFile, cfg.TLS.KeyFile = testca.New(t).Files(t.TempDir(), "relay.test")
	for domain, warns := range map[string]bool{"relay.test": false, "other.test": true} {
		cfg.Domain = domain
		var log bytes.Buffer
		c, err := newOwnCert(&cfg, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		c.close()
		if got := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "not "+domain); got != warns {
			t.Errorf("%s: warns %v: %s", domain, got, log.String())
		}
	}
}
