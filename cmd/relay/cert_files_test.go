package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"keystay/config"
	"keystay/internal/testca"
)

// At SIGHUP the certificate's files are read again, and judged as at the start.
func TestCertificateIsReloadedAndJudged(t *testing.T) {
	ca, dir := testca.New(t), t.TempDir()
	cert, key := ca.Files(dir, "other.test")
	var log bytes.Buffer
	cfg := &config.Relay{Domain: "relay.test"}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = cert, key
	c, err := newOwnCert(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%s: no %q in\n%s", when, w, log.String())
			}
		}
		log.Reset()
	}
	expect("start", "level=WARN msg=\"remotes and visitors will refuse", "other.test", "no intermediate certificate", "hint=\"put the whole chain into the file")
	if !c.reload() {
		t.Error("nothing to reload")
	}
	if strings.Contains(log.String(), "err=") {
		t.Error(log.String())
	}
	expect("unchanged", "level=INFO msg=\"the certificate's files have not changed\"")
	ca.Files(dir, "relay.test", "www.relay.test")
	c.reload()
	if strings.Contains(log.String(), "will refuse") {
		t.Error(log.String())
	}
	expect("changed", "msg=\"certificate reloaded\" name=relay.test")
	if err := c.ready(); err != nil {
		t.Error(err)
	}
	ca.Files(dir, "other.test")
	c.reload()
	expect("foreign", "level=ERROR msg=\"the new certificate is not in use; the one from before is\"", "other.test, not relay.test", "hint=")
	if got, err := c.wait(t.Context()); err != nil || got.Leaf.VerifyHostname("relay.test") != nil || c.ready() != nil {
		t.Errorf("in use is %v, %v, %v", got, err, c.ready())
	}
	if err := os.WriteFile(cert, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.reload()
	expect("broken", "level=ERROR msg=\"the new certificate is not in use; the one from before is\"", "hint=")
	c.reload()
	expect("broken still", "level=WARN msg=\"the certificate's files have not changed, and are not in use\"", "hint=")
}
