package config_test

import (
	"strings"
	"testing"

	"keystay/config"
)

const proxyForms = "\nhint: as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080; none is to go without"

func TestProxyHasManyForms(t *testing.T) {
	for given, want := range map[string]config.Secret{
		"http://proxy.corp.test:3128":         "http://proxy.corp.test:3128",
		"proxy:3128":                          "http://proxy:3128", // as in HTTPS_PROXY
		"me:secret@proxy:3128":                "http://me:secret@proxy:3128",
		"HTTPS://proxy.corp.test/":            "https://proxy.corp.test/",
		"socks5://me:p%40ss@[::1]:1080":       "socks5://me:p%40ss@[::1]:1080",
		"socks5h://127.0.0.1":                 "socks5h://127.0.0.1",
		"none":                                config.NoProxy,
		"http://user%20name:a:b@192.0.2.1:80": "http://user%20name:a%3Ab@192.0.2.1:80",
	} {
		inFolder(t, nil)
		r, _, err := loadRemote(t, "--proxy", given, "3000")
		if err != nil || r.Proxy != want {
			t.Errorf("%s: %q, %v; want %q", given, string(r.Proxy), err, string(want))
		}
		env(t, "KEYSTAY_REMOTE_PROXY="+given)
		if r, _, err = loadRemote(t, "3000"); err != nil || r.Proxy != want {
			t.Errorf("%s by the variable: %q, %v", given, string(r.Proxy), err)
		}
	}
}

// Whatever is wrong with the URL, the password in it is not repeated.
func TestWrongProxyKeepsItsPassword(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "empty\nhint: --proxy none is to go without a proxy",
		"off":                          "\"off\" is no proxy\nhint: did you mean none, which is to go without?",
		"\"http://me:hunter2@proxy\"":  "there are quotes around the URL, which are a part of it here\nhint: take them out",
		"http://me:hunter2%@proxy":     "this is no URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :, %25 for %",
		"ftp://me:hunter2@proxy":       "\"ftp\" is no kind of proxy" + proxyForms,
		"http://me:hunter2@":           "the URL names no host" + proxyForms,
		"http://me:hunter2@a b:1":      "this is no URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :, %25 for %",
		"http://me:hunter2":            "this is no URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :, %25 for %",
		"http://me:hunter2@p:0":        "\"0\" is no port\nhint: a number from 1 to 65535",
		"http://me:hunter2@p:70000":    "\"70000\" is no port\nhint: a number from 1 to 65535",
		"http://p/me:hunter2":          "there is more than a host and a port in the URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %2F for /, %3F for ?, %23 for #",
		"http://me:hunter2@p\x01":      "a secret is one line of text",
		strings.Repeat("hunter2", 200): "a secret has at most 1024 bytes",
	} {
		inFolder(t, nil)
		_, _, err := loadRemote(t, "--proxy="+given, "3000")
		wantText(t, err, "--proxy: "+want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in %v", err)
		}
	}
}

func TestWrongTransportNamesTheNearest(t *testing.T) {
	inFolder(t, nil)
	r, _, err := loadRemote(t, "--transport", "wss", "3000")
	if err != nil || r.Transport != "wss" {
		t.Errorf("%q, %v", r.Transport, err)
	}
	_, _, err = loadRemote(t, "--transport", "ws", "3000")
	wantText(t, err, "--transport: \"ws\" is not auto, tls or wss\nhint: did you mean \"wss\"?")
}

// What the environment says of a proxy is checked at the start, and named by its
// variable; --proxy goes before it.
func TestWrongProxyVariable(t *testing.T) {
	for given, want := range map[string]string{
		"foo:bar:baz":                 "this is no URL",
		"foo://me:hunter2@bar":        `"foo" is no kind of proxy`,
		"http://me:hunter2@p:0":       `"0" is no port`,
		"http://":                     "the URL names no host",
		"me:hunter2@bar:baz":          "this is no URL",
		"http://[::1":                 "this is no URL",
		"'http://p:1'":                "there are quotes around the URL, which are a part of it here\nhint: as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080\nhint: take them out\nhint: this variable",
		"http://p:1 ":                 "there are blanks around the URL\n",
		"off":                         `"off" is no proxy` + "\nhint: as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080\nhint: this variable",
		"http://me:hunter2%@p:1":      "this is no URL\nhint: as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :, %25 for %\nhint: this variable",
		"proxy.corp.test:3128":        "",
		"http://me:hunter2@p:1/x?y#z": "", // only the host and port of it are used
	} {
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
			t.Run(name+"="+given, func(t *testing.T) {
				inFolder(t, nil)
				env(t, name+"="+given)
				_, _, err := loadRemote(t, "3000")
				if want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || !strings.HasPrefix(err.Error(), name+": "+want) || !strings.HasSuffix(err.Error(), "--proxy none") || strings.Contains(err.Error(), "hunter2") {
					t.Error(err)
				}
				if _, _, err := loadRemote(t, "3000", "--proxy", "none"); err != nil {
					t.Errorf("with --proxy none: %v", err)
				}
				env(t, "NO_PROXY=*")
				if _, _, err := loadRemote(t, "3000"); err != nil {
					t.Errorf("with NO_PROXY=*: %v", err)
				}
			})
		}
	}
}

// An IPv6 address and a port without brackets read as one address, or as none.
func TestDNSNeedsBracketsBeforeAPort(t *testing.T) {
	for given, want := range map[string]string{
		"::1:53":                   "\"::1:53\" is an address alone, or one and its port\nhint: did you mean \"[::1]:53\", or \"[::1:53]:53\"?",
		"2620:0:0:0:0:0:0:fe:5353": "\"2620:0:0:0:0:0:0:fe:5353\" is no address of a DNS server\nhint: did you mean \"[2620:0:0:0:0:0:0:fe]:5353\"?",
		"2a01:4ff:ff00::add:1":     "", // an address alone
	} {
		inFolder(t, nil)
		_, _, err := loadRemote(t, "--dns", given, "3000")
		if want != "" {
			want = "--dns: " + want
		}
		wantText(t, err, want)
	}
}

func TestDNSIsAnAddress(t *testing.T) {
	for given, want := range map[string]string{
		"9.9.9.9": "9.9.9.9:53", "9.9.9.9:5353": "9.9.9.9:5353", "2620:fe::fe": "[2620:fe::fe]:53", "[2620:fe::fe]": "[2620:fe::fe]:53", "[::1]:1": "[::1]:1",
		"dns.test": "", "9.9.9.9:0": "", "9.9.9.9:x": "", ":53": "", "https://9.9.9.9": "",
	} {
		inFolder(t, nil)
		r, _, err := loadRemote(t, "--dns", given, "3000")
		if want == "" {
			wantText(t, err, `--dns: "`+given+`" is no address of a DNS server`+"\nhint: as in 9.9.9.9 or [2620:fe::fe]:53")
		} else if err != nil || r.DNS != want {
			t.Errorf("%s: %v", given, err)
		}
	}
}
