package main

import (
	"strings"
	"testing"

	"keystay/config"
	"keystay/relay/limits"
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

// A change of the file's limits is taken up, and one that cannot be used leaves those
// from before.
func TestReloadTakesLimits(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "relay.yaml", "domain: relay.test\n")
	p, log := running(t, file)
	for _, c := range []struct {
		text, log string
		names     int
	}{
		{"", `changed=nothing`, 32},
		{"limits: {identity: {names: 7}}\n", "changed=limits.identity.names", 7},
		{"limits: {identity: {names: x}}\n", "is not reloaded", 7},
		{"limits: {identity: {names: 8}}\n", "changed=limits.identity.names", 8},
	} {
		write(t, dir, "relay.yaml", "domain: relay.test\n"+c.text)
		log.Reset()
		p.reload()
		if n := p.srv.Names.NamesAtMost(); !strings.Contains(log.String(), c.log) || n != c.names {
			t.Errorf("%q: %d names, log %s", c.text, n, log.String())
		}
	}
}
