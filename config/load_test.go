package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"keystay/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clean takes the variables of whoever runs the test out of its way.
func clean(t testing.TB) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "KEYSTAY_") {
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, value) })
		}
	}
}

// inFolder makes an empty folder the working directory and writes files, by
// their names, into it.
func inFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	clean(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// env sets variables, written NAME=value, for the test.
func env(t *testing.T, pairs ...string) {
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

func loadRelay(t *testing.T, flags ...string) (*config.Relay, []config.Warning, error) {
	t.Helper()
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return config.LoadRelay(fs)
}

func loadRemote(t *testing.T, flags ...string) (*config.Remote, []config.Warning, error) {
	t.Helper()
	fs := pflag.NewFlagSet("remote", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return config.LoadRemote(fs, fs.Args())
}

// wantText compares the text of an error, or of no error.
func wantText(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if dir, err := os.Getwd(); err == nil {
		got = strings.ReplaceAll(got, dir+string(filepath.Separator), "DIR/")
	}
	if got != want {
		t.Errorf("error:\n%s\nwant:\n%s", got, want)
	}
}

func TestFlagBeatsVariableBeatsFile(t *testing.T) {
	file := map[string]string{"relay.yaml": `
domain: file.relay.test
listen: ["192.0.2.1:1", "192.0.2.1:2"]
http_listen: []
names: {policy: closed}
admin: {listen: ""}
log: {level: warn}
`}
	tests := []struct {
		name  string
		env   []string
		flags []string
		want  func(*config.Relay)
	}{
		{name: "the file", want: func(r *config.Relay) {}},
		{
			name: "variables beat the file",
			env:  []string{"KEYSTAY_RELAY_LOG_LEVEL=error", "KEYSTAY_RELAY_LISTEN=:7, [::1]:8", "KEYSTAY_RELAY_NAMES_POLICY=open"},
			want: func(r *config.Relay) {
				r.Log.Level, r.Listen, r.Names.Policy = "error", []string{":7", "[::1]:8"}, "open"
			},
		},
		{
			name:  "flags beat variables",
			env:   []string{"KEYSTAY_RELAY_LOG_LEVEL=error", "KEYSTAY_RELAY_LISTEN=:7"},
			flags: []string{"--log-level", "debug", "--listen", "[::1]:9,:10", "--listen", ":11", "--http-listen", ":12"},
			want: func(r *config.Relay) {
				r.Log.Level, r.Listen, r.HTTPListen = "debug", []string{"[::1]:9", ":10", ":11"}, []string{":12"}
			},
		},
		{
			name: "an empty variable is as none",
			env:  []string{"KEYSTAY_RELAY_LISTEN=", "KEYSTAY_RELAY_LOG_LEVEL=", "KEYSTAY_RELAY_DOMAIN="},
			want: func(r *config.Relay) {},
		},
		{
			name: "the other program's variables are not ours",
			env:  []string{"KEYSTAY_REMOTE_DOMAIN=xyz.relay.test", "KEYSTAY_REMOTE_NONSENSE=1"},
			want: func(r *config.Relay) {},
		},
		{
			name: "Kubernetes describes a service of this name",
			env: []string{"KEYSTAY_RELAY_SERVICE_HOST=10.0.0.1", "KEYSTAY_RELAY_SERVICE_PORT=443", "KEYSTAY_RELAY_SERVICE_PORT_HTTPS=443",
				"KEYSTAY_RELAY_PORT=tcp://10.0.0.1:443", "KEYSTAY_RELAY_PORT_443_TCP=tcp://10.0.0.1:443", "KEYSTAY_RELAY_PORT_443_TCP_ADDR=10.0.0.1"},
			want: func(r *config.Relay) {},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, file)
			env(t, tt.env...)
			got, _, err := loadRelay(t, append([]string{"--config", "relay.yaml"}, tt.flags...)...)
			if err != nil {
				t.Fatal(err)
			}
			want := &config.Relay{
				Domain: "file.relay.test", Listen: []string{"192.0.2.1:1", "192.0.2.1:2"}, HTTPListen: []string{}, StateDir: "/var/lib/keystay",
				Names: defaultNames("closed"), Log: config.Log{Level: "warn", Format: "text"},
				DrainTimeout: 30 * time.Second, TakeoverDrain: time.Hour, Lanes: "auto", Reload: "keep", Cluster: noCluster(),
			}
			tt.want(want)
			want.Limits = got.Limits // see TestLimits
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// defaultNames is who may take names where only the policy is said.
func defaultNames(policy string) config.Names {
	return config.Names{Policy: policy, KeyNames: "open", ExpireUnused: 365 * 24 * time.Hour, CertificatesPerWeek: 50, CustomDomains: true, Resolvers: []string{}, Webhook: config.Webhook{Remember: time.Minute}}
}

func TestRelayNeedsADomainAlone(t *testing.T) {
	inFolder(t, nil)
	r, warnings, err := loadRelay(t, "--domain", "Relay.Test.")
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Relay{
		Domain: "relay.test", Listen: []string{":443"}, HTTPListen: []string{":80"}, StateDir: "/var/lib/keystay",
		Names: defaultNames("open"), Admin: config.Admin{Listen: "127.0.0.1:9440"}, Log: config.Log{Level: "info", Format: "text"},
		DrainTimeout: 30 * time.Second, TakeoverDrain: time.Hour, Lanes: "auto", Reload: "keep", Cluster: noCluster(),
	}
	want.Limits = r.Limits // see TestLimits
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if len(warnings) != 1 || warnings[0].Message != "names.policy is open: anyone who can reach this relay may take names below relay.test" {
		t.Errorf("warnings %q", warnings)
	}
	if r, _, err = loadRelay(t, "--domain", "relay.test", "--http-listen", ""); err != nil || len(r.HTTPListen) != 0 {
		t.Errorf("an empty flag does not turn plain HTTP off: %v, %v", r, err)
	}
	t.Setenv("KEYSTAY_RELAY_DOMAIN", "env.relay.test")
	if r, _, err = config.LoadRelay(nil); err != nil || r.Domain != "env.relay.test" {
		t.Errorf("without flags: %v, %v", r, err)
	}
}

// The file that people copy must load, show the defaults and mention every key.
func TestDeployedFileMentionsEveryKey(t *testing.T) {
	path, err := filepath.Abs("../deploy/relay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, nil)
	// As it is, it is nobody's: it says which line to edit.
	var wrong *config.Error
	if _, _, err := loadRelay(t, "--config", path); !errors.As(err, &wrong) || wrong.Key != "domain" || wrong.Line == 0 || len(wrong.Hints) == 0 {
		t.Errorf("without a domain: %v", err)
	}
	got, _, err := loadRelay(t, "--config", path, "--domain", "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := loadRelay(t, "--domain", "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	want.Tokens = []config.Token{}
	got.Tokens = append([]config.Token{}, got.Tokens...)
	want.Static, want.Siblings = []config.Static{}, []config.Sibling{}
	got.Static = append([]config.Static{}, got.Static...)
	got.Siblings = append([]config.Sibling{}, got.Siblings...)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the file gives %+v\nthe defaults are %+v", got, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range config.RelayKeys() {
		word := k.Name[strings.LastIndex(k.Name, ".")+1:]
		if k.Name != "config" && !strings.Contains(string(text), word+":") {
			t.Errorf("the file does not show %s", k.Name)
		}
	}
}

// Every field has a key and every key has a field, so that neither the help
// nor the reference can miss one.
func TestKeysMatchStructs(t *testing.T) {
	var names func(prefix string, typ reflect.Type) []string
	names = func(prefix string, typ reflect.Type) []string {
		var list []string
		for f := range typ.Fields() {
			key := prefix + f.Tag.Get("mapstructure")
			switch {
			case f.Tag.Get("mapstructure") == "-":
			case f.Type.Kind() == reflect.Struct:
				list = append(list, names(key+".", f.Type)...)
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				list = append(append(list, key), names(key+"[].", f.Type.Elem())...)
			default:
				list = append(list, key)
			}
		}
		return list
	}
	tests := []struct {
		typ   reflect.Type
		keys  []config.Key
		extra []string // keys that are not decoded as they stand
	}{
		{reflect.TypeFor[config.Relay](), config.RelayKeys(), []string{"config", "drain_timeout", "takeover_drain", "memory", "names.expire_unused", "names.certificates_per_week", "names.custom_domains", "names.webhook.remember", "admin.pprof", "metrics.per_name", "proxy_protocol.from", "tcp_ports", "cluster.weight"}},
	}
	for _, tt := range tests {
		fields := map[string]bool{}
		for _, name := range append(names("", tt.typ), tt.extra...) {
			fields[name] = true
		}
		for _, k := range tt.keys {
			if strings.HasPrefix(k.Name, "limits.") { // see TestLimits
				fields[k.Name] = true
			}
		}
		for _, k := range tt.keys {
			if !fields[k.Name] {
				t.Errorf("%v has no field for %s", tt.typ, k.Name)
			}
			delete(fields, k.Name)
			if k.Help == "" {
				t.Errorf("%v: no help for %s", tt.typ, k.Name)
			}
		}
		if len(fields) > 0 {
			t.Errorf("%v has fields without keys: %v", tt.typ, fields)
		}
	}
}

func TestFlagsShowDefaults(t *testing.T) {
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(fs)
	help := fs.FlagUsages()
	for _, want := range []string{"--config FILE", "--listen HOST:PORT", "(default [:443])", "--log-level LEVEL", `(default "info")`} {
		if !strings.Contains(help, want) {
			t.Errorf("help has no %s:\n%s", want, help)
		}
	}
	if table := config.Reference(config.RelayKeys()); !strings.Contains(table, "| `log.level` | `--log-level` | `KEYSTAY_RELAY_LOG_LEVEL` | `info` | how much") {
		t.Errorf("reference:\n%s", table)
	}
}

func TestTokensAreRead(t *testing.T) {
	dir := inFolder(t, map[string]string{
		"one": "first secret of many bytes\n", "two": "the second secret\r\n",
		"relay.yaml": `
domain: relay.test
names: {policy: token}
tokens:
  - {secret_file: one, names: [XYZ.relay.test., "*.Team.relay.test", "bücher.relay.test"]}
  - secret_file: two
    names: ["*.relay.test"]
`})
	if err := os.Chmod("two", 0o644); err != nil {
		t.Fatal(err)
	}
	// Relative paths start at the file's folder, not at the working directory.
	t.Chdir("/")
	r, warnings, err := loadRelay(t, "--config", filepath.Join(dir, "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Token{
		{SecretFile: filepath.Join(dir, "one"), Secret: "first secret of many bytes", Names: []string{"xyz.relay.test", "*.team.relay.test", "xn--bcher-kva.relay.test"}},
		{SecretFile: filepath.Join(dir, "two"), Secret: "the second secret", Names: []string{"*.relay.test"}},
	}
	if !reflect.DeepEqual(r.Tokens, want) {
		t.Errorf("got  %+v\nwant %+v", r.Tokens, want)
	}
	if len(warnings) != 1 || warnings[0].Key != "tokens[1].secret_file" || warnings[0].Hints[0] != "chmod 600 "+filepath.Join(dir, "two") {
		t.Errorf("warnings %q", warnings)
	}
}

// A token is an error below 8 bytes and a warning below 16.
func TestShortTokenIsToldOrRefused(t *testing.T) {
	for n, want := range map[int]string{1: "error", 7: "error", 8: "warning", 15: "warning", 16: "", 48: ""} {
		inFolder(t, map[string]string{"s": strings.Repeat("x", n), "relay.yaml": "domain: relay.test\nnames: {policy: token}\ntokens: [{secret_file: s, names: [a.relay.test]}]\n"})
		_, warnings, err := loadRelay(t, "--config", "relay.yaml")
		got := ""
		switch {
		case err != nil:
			got = "error"
		case len(warnings) > 0:
			got = "warning"
		}
		if got != want {
			t.Errorf("%d bytes: %q, %v, want %q", n, warnings, err, want)
		}
	}
}

func TestKeyInReadableFileWarns(t *testing.T) {
	inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nnames: {policy: closed}\nacme: {eab: {kid: k, hmac: c2VjcmV0}}\n"})
	if _, warnings, err := loadRelay(t, "--config", "relay.yaml"); err != nil || len(warnings) != 0 {
		t.Fatalf("with 0600: %q, %v", warnings, err)
	}
	if err := os.Chmod("relay.yaml", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := loadRelay(t, "--config", "relay.yaml"); err != nil || len(warnings) != 1 {
		t.Fatalf("with 0644: %q, %v", warnings, err)
	}
}

// A proxy is a secret with a password alone.
func TestProxyInAReadableFileWarnsOfItsPassword(t *testing.T) {
	for proxy, want := range map[string]int{"proxy:3128": 0, "none": 0, "socks5://me@proxy": 0, "me:secret@proxy:3128": 1, "http://me:secret@proxy": 1} {
		inFolder(t, map[string]string{"remote.yaml": "proxy: " + proxy + "\nservices: [{local: 3000}]\n"})
		if err := os.Chmod("remote.yaml", 0o644); err != nil {
			t.Fatal(err)
		}
		if _, warnings, err := loadRemote(t, "--config", "remote.yaml"); err != nil || len(warnings) != want {
			t.Errorf("%s: %q, %v", proxy, warnings, err)
		}
	}
}

func TestAbuseBecomesURL(t *testing.T) {
	for in, want := range map[string]string{
		"abuse@relay.test": "mailto:abuse@relay.test", "mailto:abuse@relay.test": "mailto:abuse@relay.test",
		"https://relay.test/abuse": "https://relay.test/abuse", "": "",
	} {
		inFolder(t, nil)
		t.Setenv("KEYSTAY_RELAY_ABUSE", in)
		if r, _, err := loadRelay(t, "--domain", "relay.test"); err != nil || r.Abuse != want {
			t.Errorf("%q: %+v, %v, want %q", in, r, err, want)
		}
	}
}

func TestTokensWithoutPolicyWarn(t *testing.T) {
	inFolder(t, map[string]string{"s": "a secret of some length", "relay.yaml": "domain: relay.test\nnames: {policy: closed}\ntokens: [{secret_file: s, names: [a.relay.test]}]\n"})
	_, warnings, err := loadRelay(t, "--config", "relay.yaml")
	if err != nil || len(warnings) != 1 || warnings[0].String() != "tokens have no effect while names.policy is closed\nhint: names: {policy: token}" {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestPathsInAFileAreBesideIt(t *testing.T) {
	dir := inFolder(t, map[string]string{"c": "", "k": "", "relay.yaml": "domain: relay.test\ntls: {cert_file: c, key_file: k}\nstate_dir: state\n"})
	t.Chdir("/")
	r, _, err := loadRelay(t, "--config", filepath.Join(dir, "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if r.TLS.CertFile != filepath.Join(dir, "c") || r.TLS.KeyFile != filepath.Join(dir, "k") || r.StateDir != filepath.Join(dir, "state") {
		t.Errorf("paths do not start at the file's folder: %+v", r)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	r := config.Remote{Token: "hunter2", ACMEEABHMAC: "hunter2"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", r.Token, "all", r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		log.String(), string(text), r.Token.String(),
		fmt.Sprint(r, &r, r.Token), fmt.Sprintf("%v %+v %#v %s %q %x %d", r, r, r, r.Token, r.Token, r.Token, r.Token), fmt.Errorf("x: %w", fmt.Errorf("%v", r.Token)).Error(),
	} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", s)
		}
	}
	if config.Secret("").String() != "" {
		t.Error("an empty secret looks like one")
	}
}

func TestRemoteTakesFlagsAndVariables(t *testing.T) {
	dir := inFolder(t, map[string]string{"token": "secret\n"})
	t.Setenv("KEYSTAY_REMOTE_ACME_EAB_HMAC", "c2VjcmV0MQ==")
	t.Setenv("KEYSTAY_REMOTE_LOCAL", "4000")
	t.Setenv("KEYSTAY_RELAY_NONSENSE", "not ours")
	r, _, err := loadRemote(t, "--domain", "XYZ.relay.test.", "--relay", "Relay.Test:8443", "--relay-address", "[::1]:8443",
		"--token-file", "token", "--state-dir", dir, "--acme-ca", "https://ca.test/dir", "--acme-email", "me@ca.test",
		"--acme-eab-kid", "kid", "--wait", "1m30s", "--log-format", "json", "3000")
	if err != nil {
		t.Fatal(err)
	}
	local, err := config.ParseLocal("3000")
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Remote{
		Services: []config.Service{{
			Domains: []string{"xyz.relay.test"},
			Routes:  []config.Route{{Path: "/", Local: local, HostHeader: "keep"}},
		}},
		Relays: []string{"relay.test:8443"}, RelayListKeys: []string{}, RelayAddresses: []string{"[::1]:8443"}, Listen: []string{}, Token: "secret", TokenFile: "token",
		StateDir: dir, ACMECAs: []string{"https://ca.test/dir"}, KeyType: "ecdsa", ACMEEmail: "me@ca.test", ACMEEABKID: "kid", ACMEEABHMAC: "c2VjcmV0MQ",
		ACMERehearsal: "auto", CT: "auto", Probe: "auto", OnIntercept: "warn", Lanes: "auto", Siblings: "auto", Transport: "auto", Wait: 90 * time.Second, DrainTimeout: 30 * time.Second, LogLevel: "info", LogFormat: "json", LogAsked: true,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if r, _, err = loadRemote(t, "--acme-eab-kid", "kid"); err != nil || r.Services[0].Routes[0].Local.String() != "http://127.0.0.1:4000" {
		t.Errorf("local from a variable: %v, %v", r, err)
	}
	if want, err := config.DefaultStateDir(); err != nil || r.StateDir != want {
		t.Errorf("state dir %q, want %q (%v)", r.StateDir, want, err)
	}
}

func TestErrorsCarryPlaces(t *testing.T) {
	inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nlog: {level: inof}\n"})
	_, _, err := loadRelay(t, "--config", "relay.yaml")
	e, ok := errors.AsType[*config.Error](err)
	if !ok || e.From != "relay.yaml" || e.Line != 2 || e.Column != 14 || e.Key != "log.level" || len(e.Hints) != 1 {
		t.Errorf("got %#v", e)
	}
}

// An amount of memory is written as GOMEMLIMIT has it.
func TestMemoryIsWrittenAsGOMEMLIMIT(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "16MiB": 16 << 20, "512MiB": 512 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "16777216": 16 << 20, "16777216B": 16 << 20, "20000KiB": 20000 << 10} {
		t.Setenv("KEYSTAY_RELAY_DOMAIN", "relay.test")
		t.Setenv("KEYSTAY_RELAY_MEMORY", text)
		if r, _, err := config.LoadRelay(nil); err != nil || r.Memory != want {
			t.Errorf("%q: %+v, %v; want %d", text, r, err, want)
		}
	}
	for _, text := range []string{"15MiB", "0", "1", "-1GiB", "512MB", "512M", "half", "MiB", "1.5GiB", "9999999TiB", " 1GiB"} {
		t.Setenv("KEYSTAY_RELAY_MEMORY", text)
		if r, _, err := config.LoadRelay(nil); err == nil {
			t.Errorf("%q is %d", text, r.Memory)
		}
	}
}
