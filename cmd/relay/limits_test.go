package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/config"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// The defaults of the configuration, where not everybody may take names, are those
// of package limits.
func TestDefaultLimits(t *testing.T) {
	t.Setenv("KEYSTAY_RELAY_DOMAIN", "relay.test")
	t.Setenv("KEYSTAY_RELAY_NAMES_POLICY", "closed")
	cfg, _, err := config.LoadRelay(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, want := limitsOf(cfg.Limits), limits.Config{}.WithDefaults()
	want.Name.Names = 0 // without a meaning
	if len(got.Exempt) != len(want.Exempt) || got.Exempt[0] != want.Exempt[0] || got.Exempt[1] != want.Exempt[1] {
		t.Errorf("%v are exempt, want %v", got.Exempt, want.Exempt)
	}
	if got.Address != want.Address || got.Identity != want.Identity || got.Name != want.Name {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// SIGHUP takes up the limits that the configuration has by now, says so once, and
// leaves those from before where it cannot be used.
func TestReloadTakesLimits(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "relay.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("domain: relay.test\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KEYSTAY_RELAY_CONFIG", file)
	write("")
	load := func() (*config.Relay, []config.Warning, error) { return config.LoadRelay(nil) }
	cfg, _, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := &process{cfg: cfg, load: load, limits: cfg.Limits, log: slog.New(slog.NewTextHandler(&log, nil)), cert: &ownCert{},
		srv: &relay.Server{Names: &names.Names{}}}
	for _, c := range []struct {
		text, log string
		names     int
	}{
		{"", "there is nothing to reload", 32},
		{"limits: {identity: {names: 7}}\n", "limits reloaded", 7},
		{"limits: {identity: {names: 7}}\n", "there is nothing to reload", 7},
		{"limits: {identity: {names: x}}\n", "the limits are not reloaded", 7},
		{"limits: {identity: {names: 8}}\n", "limits reloaded", 8},
	} {
		write(c.text)
		log.Reset()
		p.reload()
		if n := p.srv.Names.NamesAtMost(); !strings.Contains(log.String(), c.log) || strings.Count(log.String(), "\n") != 1 || n != c.names {
			t.Errorf("%q: %d names, log %s", c.text, n, log.String())
		}
	}
}
