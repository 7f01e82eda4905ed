package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
)

// Ranges are prefixes or addresses, several in a flag or given several times, in
// one form.
func TestWhoMayVisit(t *testing.T) {
	t.Setenv("KEYSTAY_REMOTE_DENY", "192.0.2.7, 2001:db8::/32")
	r, _, err := loadRemote(t, "--local", "3000", "--relay", "relay.net", "--allow", "192.0.2.77/24,::/0", "--allow", "::ffff:10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Services[0].Allow, r.Services[0].Deny); got != "[192.0.2.0/24 ::/0 10.0.0.1/32] [192.0.2.7/32 2001:db8::/32]" {
		t.Errorf("got %s", got)
	}
}

// An address with a length may be meant alone.
func TestAddressWithALengthIsWarnedOf(t *testing.T) {
	inFolder(t, map[string]string{"remote.yaml": "services: [{local: 3000, gate: {addresses: [192.0.2.5/24, 192.0.2.0/24, 192.0.2.5/32]}}]\n"})
	for _, c := range []struct {
		given []string
		want  string
	}{
		{[]string{"3000", "3001", "--name", "a,b", "--relay", "relay.test", "--allow", "192.0.2.5/24,192.0.2.5"}, "allow: \"192.0.2.5/24\" is all of 192.0.2.0/24\nhint: did you mean 192.0.2.5, or 192.0.2.0/24?"},
		{[]string{"--config", "remote.yaml"}, "services[0].gate.addresses: \"192.0.2.5/24\" is all of 192.0.2.0/24\nhint: did you mean 192.0.2.5, or 192.0.2.0/24?"},
	} {
		_, warnings, err := loadRemote(t, c.given...)
		if err != nil || len(warnings) != 1 || warnings[0].String() != c.want {
			t.Errorf("%q: %v, %v, want %q", c.given, warnings, err, c.want)
		}
	}
}

func TestWrongRangesAreTold(t *testing.T) {
	for given, want := range map[string]string{
		"example.com":                `"example.com" is neither a range of addresses nor an address`,
		"192.0.2.0/24 2001:db8::/32": `"192.0.2.0/24 2001:db8::/32" is not one range of addresses`,
		"192.0.2.0/33":               `"192.0.2.0/33" is no range of addresses`,
		"192.0.2":                    `"192.0.2" is neither a range of addresses nor an address`,
		"::/129":                     `"::/129" is no range of addresses`,
		"fe80::1%eth0":               `"fe80::1%eth0" has a zone, and visitors have none`,
		"10.0.0.0/8,":                `"" is neither a range of addresses nor an address`,
	} {
		for _, flag := range []string{"--allow", "--deny"} {
			_, _, err := loadRemote(t, "--local", "3000", "--relay", "relay.net", flag, given)
			if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q: %v, want %s", flag, given, err, want)
			}
		}
	}
	if _, _, err := loadRemote(t, "--local", "3000", "--relay", "relay.net", "--allow", ""); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty list, which would let everybody in: %v", err)
	}
}

func flags(t *testing.T, add func(*pflag.FlagSet), given ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("remote", pflag.ContinueOnError)
	add(fs)
	if err := fs.Parse(given); err != nil {
		t.Fatal(err)
	}
	return fs
}

// The commands of the remote that publish nothing take what they need of its
// settings, checked in the same way, and need no service.
func TestSettingsOfReleaseAndLogin(t *testing.T) {
	t.Setenv("KEYSTAY_REMOTE_STATE_DIR", "/somewhere")
	r, err := config.LoadRelease(flags(t, config.ReleaseFlags, "--relay", "Relay.net:8443", "--proxy", "none"), "XYZ.relay.net.")
	if err != nil || r.Domain != "xyz.relay.net" || fmt.Sprint(r.Relays) != "[relay.net:8443]" || r.StateDir != "/somewhere" || r.Transport != "auto" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, port := range []string{"Relay.net:20022", "tcp://relay.net:20022"} {
		if r, err := config.LoadRelease(flags(t, config.ReleaseFlags), port); err != nil || r.Domain != "relay.net:20022" {
			t.Errorf("a TCP port: %+v, %v", r, err)
		}
	}
	for name, given := range map[string][]string{"relay.net:0": nil, "x y:20022": nil, "xyz": nil, "xyz.relay.net": {"--transport", "pigeon"}, "x y.relay.net": nil, "": nil} {
		if _, err := config.LoadRelease(flags(t, config.ReleaseFlags, given...), name); err == nil {
			t.Errorf("%q with %q is taken", name, given)
		}
	}
	r, _, err = config.LoadLogin(flags(t, config.LoginFlags), "Relay.net:8443")
	if err != nil || fmt.Sprint(r.Relays) != "[relay.net:8443]" || r.Token != "" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, relay := range []string{"", "192.0.2.1", "https://relay.net"} {
		if _, _, err := config.LoadLogin(flags(t, config.LoginFlags), relay); err == nil || !strings.Contains(err.Error(), "the argument") {
			t.Errorf("%q: %v", relay, err)
		}
	}
	for s, ok := range map[string]bool{"a token": true, "": false, "two\nlines": false, strings.Repeat("x", config.MaxSecret+1): false} {
		if err := config.CheckSecret(s); (err == nil) != ok {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}
