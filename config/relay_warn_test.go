package config_test

import (
	"slices"
	"strings"
	"testing"

	"keystay/config"
)

// A variable that names no proxy keeps the relay from its CA.
func TestWrongProxyVariableIsWarnedOf(t *testing.T) {
	inFolder(t, map[string]string{"c": ""})
	t.Setenv("HTTPS_PROXY", "foo:bar:baz")
	_, warnings, err := loadRelay(t, "--domain", "relay.test")
	if err != nil || !slices.ContainsFunc(warnings, func(w config.Warning) bool {
		return w.Key == "HTTPS_PROXY" && len(w.Hints) > 0 && !strings.Contains(w.String(), "baz")
	}) {
		t.Errorf("%q, %v", warnings, err)
	}
	t.Setenv("KEYSTAY_RELAY_TLS_CERT_FILE", "c")
	t.Setenv("KEYSTAY_RELAY_TLS_KEY_FILE", "c")
	if _, warnings, err := loadRelay(t, "--domain", "relay.test"); err != nil || len(warnings) != 1 {
		t.Errorf("without a CA: %q, %v", warnings, err)
	}
}

// What is allowed and seldom meant is warned of, with what to do.
func TestUnwiseSettingsAreWarnedOf(t *testing.T) {
	const (
		suffix   = "domain: %q is a public suffix"
		admin    = "admin.listen: %q is open to everybody"
		internet = "admin.listen: %q is open to the internet"
		ports    = "listen: Let's Encrypt comes to port 443 or 80"
		debug    = "log.level: log.level is debug"
		drain    = "drain_timeout: a stop may take "
	)
	for _, c := range []struct{ settings, want string }{
		{"", ""},
		{"domain: co.uk", strings.Replace(suffix, "%q", `"co.uk"`, 1)},
		{"domain: CO.UK.", strings.Replace(suffix, "%q", `"co.uk"`, 1)},
		{"domain: github.io", strings.Replace(suffix, "%q", `"github.io"`, 1)},
		{"domain: xn--55qx5d.cn", strings.Replace(suffix, "%q", `"xn--55qx5d.cn"`, 1)},
		{"domain: relay.co.uk", ""},
		{"domain: me.github.io", ""},

		{"admin: {listen: ':9440'}", strings.Replace(admin, "%q", `":9440"`, 1)},
		{"admin: {listen: '0.0.0.0:9440'}", strings.Replace(admin, "%q", `"0.0.0.0:9440"`, 1)},
		{"admin: {listen: '[::]:9440'}", strings.Replace(admin, "%q", `"[::]:9440"`, 1)},
		{"admin: {listen: '203.0.113.7:9440'}", strings.Replace(internet, "%q", `"203.0.113.7:9440"`, 1)},
		{"admin: {listen: '[2001:db8::7]:9440'}", strings.Replace(internet, "%q", `"[2001:db8::7]:9440"`, 1)},
		{"admin: {listen: '[::ffff:203.0.113.7]:9440'}", strings.Replace(internet, "%q", `"[::ffff:203.0.113.7]:9440"`, 1)},
		{"admin: {listen: '[::ffff:127.0.0.1]:9440'}", ""},
		{"admin: {listen: '10.1.2.3:9440'}", ""},
		{"admin: {listen: '100.100.1.1:9440'}", ""},
		{"admin: {listen: '[fd00::1]:9440'}", ""},
		{"admin: {listen: 'localhost:9440'}", ""},
		{"admin: {listen: ''}", ""},

		{"listen: [':8443']\nhttp_listen: [':8080']", ports},
		{"listen: [':8443']\nhttp_listen: []", ports},
		{"listen: ['127.0.0.1:443', '[::1]:443']\nhttp_listen: ['localhost:80']", ports},
		{"listen: [':80']\nhttp_listen: [':443']", ports},
		{"listen: [':8443']", ""},
		{"http_listen: [':8080']", ""},
		{"listen: [':8443', '192.0.2.1:443']\nhttp_listen: []", ""},
		{"listen: [':8443']\nhttp_listen: []\nacme: {ca: 'https://ca.corp.test/dir'}", ""},
		{"listen: [':8443']\nhttp_listen: []\ntls: {cert_file: c, key_file: c}", ""},

		{"log: {level: debug}", debug},
		{"log: {level: warn}", ""},
		{"drain_timeout: 30m", ""},
		{"drain_timeout: 31m", drain},
		{"takeover_drain: 168h", ""},
	} {
		if !strings.Contains(c.settings, "domain:") {
			c.settings += "\ndomain: relay.test"
		}
		inFolder(t, map[string]string{"c": "", "relay.yaml": "names: {policy: closed}\n" + c.settings + "\n"})
		_, warnings, err := loadRelay(t, "--config", "relay.yaml")
		if err != nil {
			t.Errorf("%s: %v", c.settings, err)
			continue
		}
		var got []string
		for _, w := range warnings {
			got = append(got, w.Key+": "+w.Message)
			if len(w.Hints) == 0 {
				t.Errorf("%s: %q has no hint", c.settings, w.Message)
			}
		}
		if all := strings.Join(got, "\n"); !strings.HasPrefix(all, c.want) || (c.want == "") != (all == "") || len(got) > 1 {
			t.Errorf("%s\nwarns %q, want %q", c.settings, all, c.want)
		}
	}
}
