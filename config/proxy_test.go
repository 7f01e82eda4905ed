package config_test

import (
	"strings"
	"testing"

	"keystay/config"
)

const proxyForms = "\nhint: as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080; none is to go without"

func TestProxyValues(t *testing.T) {
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
func TestWrongProxy(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "empty\nhint: --proxy none is to go without a proxy",
		"ftp://me:hunter2@proxy":       "\"ftp\" is no kind of proxy" + proxyForms,
		"http://me:hunter2@":           "the URL names no host" + proxyForms,
		"http://me:hunter2@a b:1":      "this is no URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :",
		"http://me:hunter2":            "this is no URL" + proxyForms + "\nhint: what is no letter or digit in a user or password is written as %40 for @, %3A for :",
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

func TestTransportValues(t *testing.T) {
	inFolder(t, nil)
	r, _, err := loadRemote(t, "--transport", "wss", "3000")
	if err != nil || r.Transport != "wss" {
		t.Errorf("%q, %v", r.Transport, err)
	}
	_, _, err = loadRemote(t, "--transport", "ws", "3000")
	wantText(t, err, "--transport: \"ws\" is not auto, tls or wss\nhint: did you mean \"wss\"?")
}
