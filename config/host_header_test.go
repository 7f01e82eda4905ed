package config_test

import "testing"

// The Host that the service sees is kept, the target's, or a host.
func TestHostHeaderIsKeptTheTargetsOrAHost(t *testing.T) {
	for _, good := range []string{"keep", "target", "localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "app.internal"} {
		if r, _, err := loadRemote(t, "--host-header", good, "3000"); err != nil || r.Services[0].Routes[0].HostHeader != good {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "http://localhost", "local host", "localhost:", ":3000", "localhost/", "a@localhost", "localhost:x", "a\r\nb", "ä.test"} {
		if r, _, err := loadRemote(t, "--host-header", bad, "3000"); err == nil {
			t.Errorf("%q is taken, as %q", bad, r.Services[0].Routes[0].HostHeader)
		}
	}
	for flag, want := range map[string]bool{"": false, "--trust-private-addresses": true} {
		args := []string{"3000"}
		if flag != "" {
			args = append(args, flag)
		}
		if r, _, err := loadRemote(t, args...); err != nil || r.TrustPrivateAddresses != want {
			t.Errorf("%q: %v", flag, err)
		}
	}
}
