package config_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"keystay/config"
)

// hash is of bcrypt, as htpasswd and remote password write it.
const hash = "$2y$05$abcdefghijklmnopqrstuu1234567890123456789012345678901"

// Whatever a file may say of services is read as it says, and paths start at the file.
func TestFileSaysWhatIsPublished(t *testing.T) {
	dir := inFolder(t, map[string]string{
		"users": "me:" + hash + "\n", "ca": "x", "secret": "s3cret\n", "cert": "x", "key": "x", "token": "t\n",
		"remote.yaml": `
relay: relay.test
token_file: token
acme: {ca: "", email: me@relay.test}
services:
  - domain: XYZ.relay.test
    local: 3000
    gate: {password_file: users, header: true}
  - domains: [app.example.com, www.example.com]
    name: blog
    relay: [relay.test, relay.example.org]
    routes:
      - {path: /api/, local: "http://127.0.0.1:8080", strip: true, headers: {request: {set: {x-from: api}}}, timeouts: {connect: 3s, answer: 1m}, health: {path: /healthz}}
      - {path: /, local: ./site, spa: true, listing: true}
    host_header: target
    headers: {request: {set: {X-From: keystay, X-N: 7}, remove: [cookie]}, response: {remove: [Server]}}
    gates:
      - {paths: [/api/], links: true, trusted_addresses: 10.0.0.0/8, client_ca: ca}
      - {oidc: {issuer: "https://id.test", client_id: c, client_secret_file: secret, emails: ["@example.com"]}, addresses: ["::/0"]}
    allow: 192.0.2.0/24
  - {names: [""], local: "tcp://127.0.0.1:5432", proxy_protocol: 2, cert: cert, key: key}
  - domain: mqtt.relay.test
    local: https+insecure://:8443
    alpn: [{protocols: [mqtt, "*"], local: "tcp://127.0.0.1:1883"}]
`})
	if err := os.Mkdir(filepath.Join(dir, "site"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir("/")
	r, warnings, err := loadRemote(t, "--config", filepath.Join(dir, "remote.yaml"))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	local := func(s string) config.Local {
		l, err := config.ParseLocal(s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	raw := local("tcp://127.0.0.1:5432")
	want := []config.Service{{
		Domains: []string{"xyz.relay.test"},
		Routes:  []config.Route{{Path: "/", Local: local("3000"), HostHeader: "keep"}},
		Gates:   []config.Gate{{PasswordFile: filepath.Join(dir, "users"), Header: true}},
	}, {
		Domains: []string{"app.example.com", "www.example.com"},
		Words:   []string{"blog"},
		Relays:  []string{"relay.test", "relay.example.org"},
		Routes: []config.Route{{
			Path: "/api/", Local: config.Local{Network: "tcp", Address: "127.0.0.1:8080", URL: &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}}, Strip: true, HostHeader: "target",
			Request:        config.HeaderChanges{Set: http.Header{"X-From": {"api"}, "X-N": {"7"}}, Remove: []string{"Cookie"}},
			Response:       config.HeaderChanges{Remove: []string{"Server"}},
			ConnectTimeout: 3 * time.Second, AnswerTimeout: time.Minute, Health: config.Health{Path: "/healthz", Every: 10 * time.Second},
		}, {
			Path: "/", Local: config.Local{Kind: config.LocalFolder, Folder: filepath.Join(dir, "site")}, SPA: true, Listing: true,
			Request:  config.HeaderChanges{Set: http.Header{"X-From": {"keystay"}, "X-N": {"7"}}, Remove: []string{"Cookie"}},
			Response: config.HeaderChanges{Remove: []string{"Server"}},
		}},
		Gates: []config.Gate{
			{Paths: []string{"/api/"}, Links: true, TrustedAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ClientCA: filepath.Join(dir, "ca")},
			{Addresses: []netip.Prefix{netip.MustParsePrefix("::/0")}, OIDC: &config.OIDC{Issuer: "https://id.test", ClientID: "c", ClientSecret: "s3cret", ClientSecretFile: filepath.Join(dir, "secret"), Emails: []string{"@example.com"}}},
		},
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}, {
		Words: []string{""}, Raw: &raw, ProxyProtocol: 2, Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"),
	}, {
		Domains: []string{"mqtt.relay.test"},
		Routes:  []config.Route{{Path: "/", Local: local("https+insecure://:8443"), HostHeader: "keep"}},
		ALPN:    []config.Protocols{{Names: []string{"mqtt", "*"}, Local: local("tcp://127.0.0.1:1883")}},
	}}
	if len(r.Services) != len(want) {
		t.Fatalf("%d services", len(r.Services))
	}
	for i := range want {
		if !reflect.DeepEqual(r.Services[i], want[i]) {
			t.Errorf("service %d\ngot  %+v\nwant %+v", i, r.Services[i], want[i])
		}
	}
	if r.Token != "t" || len(r.ACMECAs) != 0 || r.ACMEEmail != "me@relay.test" || r.Relays[0] != "relay.test" {
		t.Errorf("beside the services: %+v", r)
	}
}

// The lines that a person gets to read, for each mistake in services.
func TestWrongServicesSayWhatAPersonReads(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"nothing in it", "relay: relay.test\nservices: []\n",
			"remote.yaml:2: services: empty: there is nothing to publish\nhint: services: [{local: 3000}]"},
		{"no services", "relay: relay.test\n",
			"remote.yaml: services: missing: there is nothing to publish\nhint: services: [{local: 3000}], or --local"},
		{"an empty file", "# nothing\n",
			"remote.yaml: the file is empty\nhint: start from the commented deploy/remote.yaml; the one key that it must have is services"},
		{"a text without quotes", "relay: relay.test\nservices:\n  - local: text: hello\n",
			"remote.yaml:3: not valid YAML: mapping values are not allowed in this context\nhint: put it in quotes, since it has a colon of its own: local: \"text: hello\""},
		{"a port with a colon without quotes", "services: [{local: :3000}]\n",
			"remote.yaml:1: not valid YAML: did not find expected node content\nhint: put it in quotes, since it has a colon of its own: local: \":3000\""},
		{"a route that leads back", "services:\n  - domain: a.relay.test\n    routes:\n      - {path: /a/, strip: true, local: 'redirect:https://a.relay.test'}\n      - {path: /b, local: 'redirect:https://a.relay.test/c'}\n      - {path: /, local: 'redirect:http://a.relay.test'}\n",
			"remote.yaml:6: services[0].routes[2].local: \"redirect:http://a.relay.test\" leads back to the name itself: visitors would go round for ever\nhint: lead to another name; or by routes to a path that has one of its own"},
		{"a switch of a proxy", "proxy: false\nservices: [{local: 3000}]\n",
			"remote.yaml:1: proxy must be text, it is true or false\nhint: none is to go without a proxy"},
		{"misspelt", "services:\n  - domian: a.relay.test\n    local: 3000\n",
			"remote.yaml:2: unknown key \"domian\"\nhint: did you mean \"domain\"?"},
		{"misspelt three deep", "services:\n  - local: 3000\n    headers:\n      request: {set: {A: b}}\n      respones: {}\n",
			"remote.yaml:5: unknown key \"respones\"\nhint: did you mean \"response\"?"},
		{"misspelt in a route", "services: [{routes: [{path: /, local: 3000, stripe: true}]}]\n",
			"remote.yaml:1: unknown key \"stripe\"\nhint: did you mean \"strip\"?"},
		{"of a service, at the top", "domain: a.relay.test\nservices: [{local: 3000}]\n",
			"remote.yaml:1: unknown key \"domain\"\nhint: did you mean services: [{domain: …}]?"},
		{"of a gate, in a service", "services:\n  - local: 3000\n    password_file: x\n",
			"remote.yaml:3: unknown key \"password_file\"\nhint: did you mean gate: {password_file: …}?"},
		{"of the whole, in a service", "services:\n  - local: 3000\n    token_file: x\n",
			"remote.yaml:3: unknown key \"token_file\"\nhint: did you mean token_file: … at the top of the file?"},
		{"not built yet", "zeroconf: true\nservices: [{local: 3000}]\n",
			"remote.yaml:1: unknown key \"zeroconf\"\nhint: known here: services, relay, relay_list, relay_list_key, relay_address, relay_root, token, token_file, state_dir, trust_private_addresses, acme, ct, key_type, listen, replica, transport, lanes, siblings, proxy, dns, probe, on_intercept, inspect, wait, drain_timeout, metrics, plain, log"},
		{"a map for the list", "services: {local: 3000}\n",
			"remote.yaml:1: services must be a list, it is a map\nhint: each of the list begins with a dash, or all in brackets: services: [{…}]"},
		{"no service", "services:\n  - domain: a.relay.test\n",
			"remote.yaml:2: services[0].local: missing: there is nothing to publish\nhint: as in local: 3000, for what listens on port 3000 of this machine"},
		{"local and routes", "services:\n  - local: 3000\n    routes: [{path: /, local: 3000}]\n",
			"remote.yaml:2: services[0].local: there are routes too\nhint: put it into them, as {path: /, local: …}, or take them out"},
		{"a route twice", "services:\n  - routes:\n    - {path: /a, local: 3000}\n    - {path: /a, local: 3001}\n",
			"remote.yaml:4: services[0].routes[1].path: \"/a\" is there twice\nhint: the first is in line 3"},
		{"a route without a path", "services:\n  - routes:\n    - {local: 3000}\n",
			"remote.yaml:3: services[0].routes[0].path: missing\nhint: as in path: /api/, or path: / for all that has no other route"},
		{"a path with a star", "services: [{routes: [{path: \"/api/*\", local: 3000}]}]\n",
			"remote.yaml:1: services[0].routes[0].path: \"/api/*\" has a star\nhint: a path that ends with a slash is for all below it, as in /api/"},
		{"a path without a slash", "services: [{routes: [{path: api, local: 3000}]}]\n",
			"remote.yaml:1: services[0].routes[0].path: \"api\" is no path\nhint: it begins with a slash, as in /api/"},
		{"a path of two readings", "services: [{routes: [{path: /a/../b, local: 3000}]}]\n",
			"remote.yaml:1: services[0].routes[0].path: \"/a/../b\" is no path that all programs read in one way\nhint: write it as people read it, without % and ; and dots, as in /api/"},
		{"strip of one path", "services: [{routes: [{path: /api, local: 3000, strip: true}]}]\n",
			"remote.yaml:1: services[0].routes[0].path: \"/api\" is one path alone, and strip is for all below one\nhint: did you mean \"/api/\"?"},
		{"raw bytes on a route", "services: [{routes: [{path: /, local: \"tcp://127.0.0.1:22\"}]}]\n",
			"remote.yaml:1: services[0].routes[0].local: \"tcp://127.0.0.1:22\" has no paths\nhint: a tcp:// or tls:// service needs a name of its own, or alpn"},
		{"headers of raw bytes", "services:\n  - local: tcp://127.0.0.1:22\n    headers: {request: {remove: Cookie}}\n    gate: {links: true}\n",
			"remote.yaml:3: services[0].headers: has no effect on tcp://127.0.0.1:22, whose bytes are passed on as they are\nhint: take it out, or publish the service by http://\n" +
				"remote.yaml:4: services[0].gate: has no effect on tcp://127.0.0.1:22, whose bytes are passed on as they are\nhint: allow and deny say from which addresses visitors may come"},
		{"the PROXY header of HTTP", "services:\n  - local: 3000\n    proxy_protocol: 2\n",
			"remote.yaml:3: services[0].proxy_protocol: is for tcp:// and tls:// services alone\nhint: an HTTP service gets the visitor's address in X-Forwarded-For"},
		{"a version that is none", "services:\n  - local: tcp://:22\n    proxy_protocol: 3\n",
			"remote.yaml:3: services[0].proxy_protocol: \"3\" is no version\nhint: 1, which is text, or 2, which is binary"},
		{"a folder that is none", "services:\n  - local: ./public\n",
			"remote.yaml:2: services[0].local: cannot read the folder \"./public\": no such file or directory\nhint: check the path DIR/public"},
		{"a list of a service", "services:\n  - local: 3000\n    listing: true\n",
			"remote.yaml:3: services[0].listing: has no effect on http://127.0.0.1:3000\nhint: take it out"},
		{"a name twice", "services:\n  - {domain: a.relay.test, local: 3000}\n  - {domain: [b.relay.test, A.relay.test.], local: 3001}\n",
			"remote.yaml:3: services[1].domain: \"a.relay.test\" is there twice\nhint: the first is in line 2; each name leads to one service"},
		{"no relay for the name made from the key", "services:\n  - {domain: a.relay.test, local: 3000}\n  - local: 3001\n",
			"remote.yaml:3: services[1]: the relay is missing that gives the name made from the key alone\nhint: relay: NAME, or --relay NAME: alone it would be the name that was served last"},
		{"two without a name", "relay: relay.test\nservices:\n  - local: 3000\n  - local: 3001\n",
			"remote.yaml:4: services[1]: the name made from the key alone is there twice\nhint: the first is in line 3; each name leads to one service"},
		{"a word twice", "services:\n  - {name: a, local: 3000}\n  - {name: a, local: 3001}\n",
			"remote.yaml:3: services[1].name: the name made from the key and \"a\" is there twice\nhint: the first is in line 2; each name leads to one service"},
		{"a certificate without its key", "services:\n  - {local: 3000, cert: s}\n",
			"remote.yaml:2: services[0].key: missing\nhint: a certificate needs its private key: --cert FILE --key FILE"},
		{"a certificate for a TLS server", "services:\n  - {local: \"tls://:443\", cert: s, key: s}\n",
			"remote.yaml:2: services[0].cert: has no effect: the service behind tls:// has its own certificate\nhint: take cert and key out, or use tcp://"},
		{"a gate for everybody", "services:\n  - local: 3000\n    gate: {header: true}\n",
			"remote.yaml:3: services[0].gate: lets everybody in\nhint: say who may come in: password_file, passwords, links, addresses, client_ca or oidc"},
		{"trust alone", "services:\n  - local: 3000\n    gate: {trusted_addresses: 10.0.0.0/8}\n",
			"remote.yaml:3: services[0].gate.trusted_addresses: there is no way to sign in for all others\nhint: addresses lets nobody else in; or add passwords, links, client_ca or oidc"},
		{"two gates for one path", "services:\n  - local: 3000\n    gates:\n    - {links: true}\n    - {paths: /, addresses: 10.0.0.0/8}\n",
			"remote.yaml:5: services[0].gates[1]: there is a gate for \"/\" already\nhint: put both into one, or give them other paths"},
		{"a plain password", "services:\n  - local: 3000\n    gate: {passwords: \"me:hunter2\"}\n",
			"remote.yaml:3: services[0].gate.passwords: behind the user \"me\" stands no bcrypt hash: plain passwords are not taken\nhint: remote password me asks for the password and prints what to write here"},
		{"a provider in the open", "services:\n  - local: 3000\n    gate: {oidc: {issuer: \"http://id.test\", client_id: c, emails: \"*\"}}\n",
			"remote.yaml:3: services[0].gate.oidc.issuer: \"http://id.test\" is no https:// URL\nhint: as in https://accounts.example.com"},
		{"the Host as a header", "services:\n  - local: 3000\n    headers: {request: {set: {host: x, \"a b\": c, Te: x}}}\n",
			"remote.yaml:3: services[0].headers.request.set.host: the Host is not changed here\nhint: host_header: target, or a name\n" +
				"remote.yaml:3: services[0].headers.request.set.a b: \"a b\" is no name of a header\nhint: as in X-From\n" +
				"remote.yaml:3: services[0].headers.request.set.Te: \"Te\" is written by the remote itself\nhint: take it out"},
		{"a header of the remote's with underscores", "services:\n  - local: 3000\n    headers: {request: {set: {x_forwarded_for: x}}}\n",
			"remote.yaml:3: services[0].headers.request.set.x_forwarded_for: \"x_forwarded_for\" is written by the remote itself\nhint: take it out"},
		{"a header of two lines", "services:\n  - local: 3000\n    headers: {response: {set: {A: \"b\\nc\"}}}\n",
			"remote.yaml:3: services[0].headers.response.set.A: a header is one line of text"},
		{"a protocol of websites", "services:\n  - local: 3000\n    alpn: [{protocols: [h2, acme-tls/1], local: \"tcp://:1\"}]\n",
			"remote.yaml:3: services[0].alpn[0].protocols: \"h2\" is what visitors of websites offer, who go to local or routes\nhint: take it out\n" +
				"remote.yaml:3: services[0].alpn[0].protocols: \"acme-tls/1\" is for the CA's validations\nhint: take it out"},
		{"a time without a unit", "services:\n  - local: 3000\n    timeouts: {connect: 10}\n    health: {path: healthz, every: 10ms}\n",
			"remote.yaml:3: services[0].timeouts.connect must be text, it is a number\nhint: a number and its unit, as in \"10s\"\n" +
				"remote.yaml:4: services[0].health.path: \"healthz\" is no path\nhint: it begins with a slash, as in /healthz\n" +
				"remote.yaml:4: services[0].health.every: \"10ms\" is not from 1s to 1h0m0s"},
		{"no switch", "services:\n  - {local: ., spa: yes please}\nreplica: perhaps\n",
			"remote.yaml:2: services[0].spa must be true or false, it is text\nhint: true or false\n" +
				"remote.yaml:3: replica must be true or false, it is text\nhint: true or false"},
		{"a relay by URL", "services:\n  - {domain: a.relay.test, relay: \"https://relay.test/\", local: 3000}\n",
			"remote.yaml:2: services[0].relay: \"https://relay.test/\" is not host or host:port\nhint: without the scheme: relay.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, map[string]string{"remote.yaml": tt.file, "s": "secret\n"})
			_, _, err := loadRemote(t, "--config", "remote.yaml")
			wantText(t, err, tt.want)
		})
	}
}

// Flags and variables count before the file; what is published is said in one place.
func TestFlagsCountBeforeTheFile(t *testing.T) {
	inFolder(t, map[string]string{
		"all.yaml":  "relay: file.test\nacme: {email: file@relay.test}\nlog: {level: warn}\ndrain_timeout: 5s\nservices: [{local: 3000}]\n",
		"some.yaml": "relay: file.test\n",
	})
	t.Setenv("KEYSTAY_REMOTE_ACME_EMAIL", "env@relay.test")
	t.Setenv("KEYSTAY_REMOTE_RELAY", "env.test")
	t.Setenv("KEYSTAY_REMOTE_CONFIG", "all.yaml")
	r, _, err := loadRemote(t, "--relay", "flag.test")
	if err != nil || r.Relays[0] != "flag.test" || r.ACMEEmail != "env@relay.test" || r.LogLevel != "warn" || r.DrainTimeout != 5*time.Second || r.Transport != "auto" {
		t.Errorf("%+v, %v", r, err)
	}
	r, _, err = loadRemote(t, "--config", "some.yaml", "--domain", "a.relay.test", "3000")
	if err != nil || r.Services[0].Domains[0] != "a.relay.test" || r.Relays[0] != "env.test" {
		t.Errorf("%+v, %v", r, err)
	}
	t.Setenv("KEYSTAY_REMOTE_DOMAIN", "a.relay.test")
	_, _, err = loadRemote(t, "--host-header", "target", "--name", "x", "3000")
	const hint = ": the services are in all.yaml\nhint: put it into one of the services there, or take the services out of the file\n"
	wantText(t, err, strings.TrimSpace("the argument"+hint+"KEYSTAY_REMOTE_DOMAIN"+hint+"--name"+hint+"--host-header"+hint))
	_, _, err = loadRemote(t, "--config", "")
	if err == nil || !strings.Contains(err.Error(), "--config: the name of the file is empty") {
		t.Error(err)
	}
}

// Names and services of flags belong together by their order, or one service is for all.
func TestFlagsMakeServices(t *testing.T) {
	inFolder(t, nil)
	type service struct{ domains, words, local string }
	for _, tt := range []struct {
		args []string
		want []service
	}{
		{[]string{"3000"}, []service{{"", "-", "http://127.0.0.1:3000"}}},
		{[]string{"3000", "--name", "a", "--name", "b"}, []service{{"", "a b", "http://127.0.0.1:3000"}}},
		{[]string{"--domain", "a.relay.test,b.relay.test", "--name", "c", "3000"}, []service{{"a.relay.test b.relay.test", "c", "http://127.0.0.1:3000"}}},
		{[]string{"--name", "c", "--local", "text:a, b", "--domain", "a.relay.test", "--local", "redirect:https://a.test/"},
			[]service{{"a.relay.test", "", "text:a, b"}, {"", "c", "redirect:https://a.test/"}}},
		{[]string{"3000", "tcp://:22", "--name", "a", "--name", "b"}, []service{{"", "a", "http://127.0.0.1:3000"}, {"", "b", "tcp://127.0.0.1:22"}}},
	} {
		r, _, err := loadRemote(t, tt.args...)
		if err != nil {
			t.Errorf("%v: %v", tt.args, err)
			continue
		}
		var got []service
		for _, s := range r.Services {
			one := service{strings.Join(s.Domains, " "), strings.Join(s.Words, " "), ""}
			if len(s.Words) > 0 && s.Words[0] == "" {
				one.words = "-"
			}
			if s.Raw != nil {
				one.local = s.Raw.String()
			} else {
				one.local = s.Routes[0].Local.String()
			}
			got = append(got, one)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %+v, want %+v", tt.args, got, tt.want)
		}
	}
	r, _, err := loadRemote(t, "3000", "--auth", "me:"+hash, "--auth", "you:"+hash, "--auth-file", "/dev/null")
	if err != nil || len(r.Services[0].Gates) != 1 || len(r.Services[0].Gates[0].Passwords) != 2 || r.Services[0].Gates[0].PasswordFile != "/dev/null" {
		t.Errorf("a gate of flags: %+v, %v", r, err)
	}
}

// A command line of localtunnel means here what it means there.
func TestFlagsOfLTMeanOurs(t *testing.T) {
	inFolder(t, nil)
	r, _, err := loadRemote(t, "-p", "3000", "-s", "myapp", "--host", "https://relay.net")
	if err != nil || r.Services[0].Domains[0] != "myapp.relay.net" || r.Relays[0] != "relay.net" || r.Services[0].Routes[0].Local.String() != "http://127.0.0.1:3000" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _, err = loadRemote(t, "--port", "3000", "--host", "http://relay.net:8443/"); err != nil || r.Relays[0] != "relay.net:8443" || len(r.Services[0].Domains) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	_, _, err = loadRemote(t, "-s", "myapp", "-p", "3000")
	wantText(t, err, "--domain: \"myapp\" has no dot\nhint: the whole name, as in myapp.relay.net")
	_, _, err = loadRemote(t, "-p", "3000", "--local", "4000")
	wantText(t, err, "--local: the same is said with a flag of lt too\nhint: say it with --local alone")
}

// The file that people copy must load, show the defaults and mention every key.
func TestDeployedRemoteFileMentionsEveryKey(t *testing.T) {
	path, err := filepath.Abs("../deploy/remote.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, nil)
	got, _, err := loadRemote(t, "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := loadRemote(t, "3000")
	if err != nil {
		t.Fatal(err)
	}
	want.LogAsked = true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the file gives %+v\nthe defaults are %+v", got, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range config.RemoteKeys() {
		word := k.Name[strings.LastIndex(k.Name, ".")+1:]
		if k.Name != "config" && !regexp.MustCompile(`\b`+word+`\b`).Match(text) {
			t.Errorf("the file does not show %s", k.Name)
		}
	}
}

// The example of the guide loads.
func TestExampleOfTheGuideLoads(t *testing.T) {
	guide, err := os.ReadFile("../docs/running-a-remote.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(guide), "<!-- remote.yaml -->\n\n")
	example, _, ok2 := strings.Cut(rest, "\n<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("the guide has no example")
	}
	inFolder(t, map[string]string{"remote.yaml": regexp.MustCompile(`(?m)^    `).ReplaceAllString(example, ""), "users.htpasswd": "me:" + hash + "\n"})
	if err := os.Mkdir("public", 0o700); err != nil {
		t.Fatal(err)
	}
	r, _, err := loadRemote(t, "--config", "remote.yaml")
	if err != nil || len(r.Services) != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The inspector is on where it is asked for, and listens to this machine alone.
func TestInspectorListensOnLoopbackAlone(t *testing.T) {
	inFolder(t, map[string]string{"true.yaml": "inspect: true\nservices: [{local: 3000}]\n", "port.yaml": "inspect: 4040\nservices: [{local: 3000}]\n"})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"3000"}, ""},
		{[]string{"3000", "--inspect"}, "127.0.0.1:0"},
		{[]string{"--inspect", "3000"}, "127.0.0.1:0"},
		{[]string{"3000", "--inspect=off"}, ""},
		{[]string{"3000", "--inspect=4040"}, "127.0.0.1:4040"},
		{[]string{"3000", "--inspect=:4040"}, "127.0.0.1:4040"},
		{[]string{"3000", "--inspect=localhost:4040"}, "127.0.0.1:4040"},
		{[]string{"3000", "--inspect=[::1]:4040"}, "[::1]:4040"},
		{[]string{"3000", "--inspect=127.0.0.2:0"}, "127.0.0.2:0"},
		{[]string{"--config", "true.yaml"}, "127.0.0.1:0"},
		{[]string{"--config", "port.yaml"}, "127.0.0.1:4040"},
		{[]string{"--config", "port.yaml", "--inspect=off"}, ""},
	} {
		r, _, err := loadRemote(t, tt.args...)
		if err != nil || r.Inspect != tt.want {
			t.Errorf("%v: %+v, %v", tt.args, r, err)
		}
	}
	for _, wrong := range []string{"0.0.0.0:4040", "192.168.1.2:4040", "[::]:4040", "device.local:4040", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "[::1%lo]:4040", "yes"} {
		if r, _, err := loadRemote(t, "3000", "--inspect="+wrong); err == nil {
			t.Errorf("%s: %q", wrong, r.Inspect)
		}
	}
}

// Each key of a remote is read: another value makes another configuration.
func TestEachKeyOfARemoteIsRead(t *testing.T) {
	inFolder(t, map[string]string{"s": "secret\n", "users": "me:" + hash + "\n"})
	base := []string{"--domain", "a.relay.test", "--local", "3000"}
	values := map[string]string{
		"domain": "b.relay.test", "name": "w", "local": "3001", "tcp": "22", "host-header": "target", "auth": "me:" + hash, "auth-file": "users", "allow": "192.0.2.0/24", "deny": "192.0.2.0/24",
		"relay": "relay.test", "relay-list": "s", "relay-list-key": "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=", "relay-address": "127.0.0.1:1", "relay-root": "s", "token": "x", "token-file": "s", "state-dir": "x", "trust-private-addresses": "true",
		"acme-ca": "https://ca.test/", "acme-root": "s", "acme-email": "a@b.net", "acme-rehearsal": "off", "ct": "off", "key-type": "rsa", "listen": ":8443", "replica": "true", "transport": "tls", "lanes": "off", "siblings": "off",
		"probe": "off", "probe-proxy": "http://proxy.test:3128", "probe-dns": "192.0.2.1", "probe-with": "b.relay.test", "on-intercept": "stop", "on-intercept-run": "notify", "on-intercept-post": "https://hook.test/",
		"proxy": "none", "dns": "192.0.2.1", "inspect": "4040", "wait": "1s", "drain-timeout": "1s", "metrics": "4040", "plain": "true", "log-level": "warn", "log-format": "json",
	}
	together := map[string][]string{
		"acme-eab-kid": {"--acme-eab-kid", "k", "--acme-eab-hmac", "YQ"}, "acme-eab-hmac": {"--acme-eab-kid", "k", "--acme-eab-hmac", "Yg"},
		"cert": {"--cert", "s", "--key", "s"}, "key": {"--cert", "s", "--key", "users"},
	}
	seen := map[string]string{}
	for _, k := range config.RemoteKeys() {
		args := together[k.Flag]
		switch value := values[k.Flag]; {
		case k.Flag == "" || k.Flag == "config":
			continue
		case args != nil:
		case value == "":
			t.Errorf("no value to try %s with", k.Flag)
			continue
		default:
			args = []string{"--" + k.Flag + "=" + value}
		}
		if k.Flag != "domain" && k.Flag != "local" {
			args = append(args, base...)
		} else if k.Flag == "domain" {
			args = append(args, base[2:]...)
		} else {
			args = append(args, base[:2]...)
		}
		r, _, err := loadRemote(t, args...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
			continue
		}
		for i := range r.Services { // a secret is not shown
			for j := range r.Services[i].Gates {
				for _, p := range r.Services[i].Gates[j].Passwords {
					r.TokenFile += string(p)
				}
			}
		}
		for _, p := range append(r.ProbeProxies, r.InterceptPost) {
			r.TokenFile += string(p)
		}
		text := strings.Join([]string{sprint(*r), string(r.Token), string(r.ACMEEABHMAC), string(r.Proxy), r.Services[0].Routes[0].Local.String()}, " ")
		if other, twice := seen[text]; twice {
			t.Errorf("%s and %s make the same configuration", k.Flag, other)
		}
		seen[text] = k.Flag
	}
}

// sprint is a configuration as text, without its local services, which are pointers.
func sprint(r config.Remote) string {
	r.Services = append([]config.Service{}, r.Services...)
	for i := range r.Services {
		r.Services[i].Routes = append([]config.Route{}, r.Services[i].Routes...)
		for j := range r.Services[i].Routes {
			r.Services[i].Routes[j].Local = config.Local{}
		}
	}
	return fmt.Sprintf("%+v", r)
}

// What stands at a place where others have it is named.
func TestServiceKeysOfOthersAreNamed(t *testing.T) {
	for file, want := range map[string]string{
		"services: [{local: 1}]\ngate: {links: true}\n":                    "remote.yaml:2: unknown key \"gate\"\nhint: did you mean services: [{gate: …}]?",
		"services: [{port: 3000}]\n":                                       "remote.yaml:1: unknown key \"port\"\nhint: did you mean \"local\"?",
		"services: [{local: 1}]\nauth-file: u\n":                           "remote.yaml:2: unknown key \"auth-file\"\nhint: did you mean services: [{gate: {password_file: …}}]?",
		"services: [{local: 1}]\nadmin: {listen: \"127.0.0.1:9440\"}\n":    "remote.yaml:2: unknown key \"admin\"\nhint: that is a key of relay.yaml, the file of relay --config",
		"ct: true\nservices: [{local: 1}]\n":                               "remote.yaml:1: ct must be text, it is true or false\nhint: auto, off or the URL of a monitor",
		"services: [{domain: “a.relay.test”, local: 1}]\n":                 "remote.yaml:1: services[0].domain: \"“a.relay.test”\" is no host name: '“' cannot be in it\nhint: did you mean \"a.relay.test\"?",
		"services: [{local: 1, gate: {links: yes}}]\nreplica: {on: yes}\n": "remote.yaml:1: services[0].gate.links must be true or false, it is text\nhint: did you mean true?\nremote.yaml:2: replica must be true or false, it is a map\nhint: true or false",
	} {
		inFolder(t, map[string]string{"remote.yaml": file})
		_, _, err := loadRemote(t, "--config=remote.yaml")
		wantText(t, err, want)
	}
}
