package proxydial_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"keystay/internal/hint"
	"keystay/internal/proxydial"
)

// ALL_PROXY counts where HTTPS_PROXY is not set, and NO_PROXY for both.
func TestAllProxyCountsWhereHTTPSProxyIsEmpty(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		host string
		want string // "" for none
	}{
		{nil, "relay.test", ""},
		{map[string]string{"ALL_PROXY": "socks5h://all:1080"}, "relay.test:8443", "socks5h://all:1080"},
		{map[string]string{"all_proxy": "all:1080"}, "relay.test", "http://all:1080"},
		{map[string]string{"ALL_PROXY": "http://all", "all_proxy": "http://small"}, "relay.test", "http://all"},
		{map[string]string{"HTTPS_PROXY": "http://https", "ALL_PROXY": "http://all"}, "relay.test", "http://https"},
		{map[string]string{"https_proxy": "http://https", "ALL_PROXY": "http://all"}, "relay.test", "http://https"},
		{map[string]string{"HTTP_PROXY": "http://http"}, "relay.test", ""},
		{map[string]string{"ALL_PROXY": "http://all", "NO_PROXY": "relay.test"}, "relay.test:443", ""},
		{map[string]string{"ALL_PROXY": "http://all", "no_proxy": "*"}, "relay.test", ""},
		{map[string]string{"ALL_PROXY": "http://all"}, "127.0.0.1", ""}, // loopback never is, as with HTTPS_PROXY
	} {
		for _, name := range append(proxydial.Variables(), "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy") {
			t.Setenv(name, c.env[name])
		}
		r, err := http.NewRequest(http.MethodGet, "https://"+c.host, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		u, err := proxydial.FromEnvironment(r)
		if u != nil {
			got = u.String()
		}
		if got != c.want || err != nil {
			t.Errorf("%v, %s: %q, %v; want %q", c.env, c.host, got, err, c.want)
		}
	}
}

// A proxy from the environment is named with its variable, and never its password.
func TestErrorNamesTheVariableOfTheProxy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close()
	for _, c := range []struct{ variable, value, other string }{
		{"HTTPS_PROXY", "http://me:hunter2@" + at, ""},
		{"https_proxy", at, ""},
		{"ALL_PROXY", "socks5://me:hunter2@" + at, ""},
		{"HTTPS_PROXY", "http://" + at, "http://other.test:3128"}, // which --proxy has named
	} {
		for _, name := range proxydial.Variables() {
			t.Setenv(name, "")
		}
		t.Setenv(c.variable, c.value)
		r, err := http.NewRequest(http.MethodGet, "https://relay.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := proxydial.FromEnvironment(r)
		if err != nil {
			t.Fatal(err)
		}
		if c.other != "" {
			u = parse(t, c.other)
			if got := proxydial.Named(u); got != c.other {
				t.Errorf("%s", got)
			}
			continue
		}
		_, err = (&proxydial.Proxy{URL: u}).Dial(t.Context(), "relay.test:443")
		hints := strings.Join(hint.All(err), "\n")
		if err == nil || !strings.Contains(err.Error(), at+", which "+c.variable+" names: ") || !strings.Contains(hints, "the variable "+c.variable) ||
			strings.Contains(err.Error()+hints, "hunter2") {
			t.Errorf("%s: %v, %s", c.variable, err, hints)
		}
	}
}
