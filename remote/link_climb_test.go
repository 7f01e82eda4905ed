package remote

import (
	"slices"
	"testing"
)

// The climb begins at the registrable domain and never asks a public suffix.
func TestClimbNeverAsksAPublicSuffix(t *testing.T) {
	for _, c := range []struct {
		domain string
		want   []string
	}{
		{"xyz.relay.net", []string{"relay.net"}},
		{"xyz.relay.test", []string{"relay.test"}},
		{"a.b.c.relay.net", []string{"relay.net", "c.relay.net", "b.c.relay.net"}},
		{"xyz.relay.co.uk", []string{"relay.co.uk"}},
		{"relay.co.uk", nil},
		{"xyz.relay.localhost", []string{"relay.localhost"}},
		// Names that many people share, which is why nobody who runs one is
		// the operator of a relay.
		{"xyz.github.io", nil},
		{"a.xyz.github.io", []string{"xyz.github.io"}},
		{"relay.net", nil},
		{"net", nil},
		{"localhost", nil},
		{"github.io", nil},
		{"co.uk", nil},
		{"", nil},
	} {
		if got := climb(c.domain); !slices.Equal(got, c.want) {
			t.Errorf("climb(%q) is %q, want %q", c.domain, got, c.want)
		}
	}
}

func TestRelayWithoutAPortHas443(t *testing.T) {
	for relay, want := range map[string][2]string{
		"relay.net":      {"relay.net", "443"},
		"relay.net:8443": {"relay.net", "8443"},
	} {
		if host, port := splitRelay(relay); host != want[0] || port != want[1] {
			t.Errorf("splitRelay(%q) is %s, %s", relay, host, port)
		}
	}
}
