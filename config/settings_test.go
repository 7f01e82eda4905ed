package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
)

// Each key is shown with its value and where it was said, the strongest source that
// says it; secrets are not.
func TestSettingsSayWhereTheyCameFrom(t *testing.T) {
	inFolder(t, map[string]string{
		"relay.yaml": "domain: relay.test\nlisten: [\":1\", \":2\"]\nlanes: \"off\"\nacme: {ca: \"https://ca.test/\", eab: {kid: k, hmac: c2VjcmV0LXNlY3JldA}}\nnames: {policy: token}\ntokens:\n- {secret_file: a, names: [\"a.relay.test\", \"*.b.relay.test\"]}\n",
		"a":          "0123456789abcdef\n",
	})
	env(t, "KEYSTAY_RELAY_LANES=auto", "KEYSTAY_RELAY_LOG_LEVEL=debug")
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(fs)
	if err := fs.Parse([]string{"--config", "relay.yaml", "--log-level", "warn"}); err != nil {
		t.Fatal(err)
	}
	_, settings, _, err := config.ReadRelay(fs)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []config.Setting{
		{"domain", "relay.test", "relay.yaml", 1},
		{"listen", ":1, :2", "relay.yaml", 2},
		{"lanes", "auto", "KEYSTAY_RELAY_LANES", 0},
		{"log.level", "warn", "--log-level", 0},
		{"log.format", "text", "default", 0},
		{"acme.eab.kid", "k", "relay.yaml", 4},
		{"acme.eab.hmac", "[redacted]", "relay.yaml", 4},
		{"acme.email", "", "default", 0},          // beside one that the file has
		{"names.key_names", "open", "default", 0}, // the same
		{"tokens[0].secret_file", "a", "relay.yaml", 7},
		{"tokens[0].names", "a.relay.test, *.b.relay.test", "relay.yaml", 7},
	} {
		if !slices.Contains(settings, want) {
			t.Errorf("no %+v in %+v", want, settings)
		}
	}
	for _, s := range settings {
		if strings.Contains(s.Value, "c2Vj") || strings.Contains(s.Value, "0123456789abcdef") {
			t.Errorf("a secret is shown: %+v", s)
		}
	}
	for _, k := range config.RelayKeys() {
		if k.Name != "config" && k.Kind != config.Table && !strings.Contains(k.Name, "[]") &&
			!slices.ContainsFunc(settings, func(s config.Setting) bool { return s.Key == k.Name }) {
			t.Errorf("%s is not shown", k.Name)
		}
	}
}

// The state directory is found whatever else is wrong with the file, and relative to
// it; but not where the file is no YAML at all.
func TestStateDirOfAFileWithMistakes(t *testing.T) {
	dir := inFolder(t, map[string]string{
		"wrong.yaml": "lisen: x\nnames: {policy: maybe}\nstate_dir: state\n",
		"none.yaml":  "state_dir: [\n",
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--config", filepath.Join(dir, "wrong.yaml")}, filepath.Join(dir, "state")},
		{[]string{"--config", filepath.Join(dir, "wrong.yaml"), "--state-dir", "/other"}, "/other"},
		{[]string{"--state-dir", "here"}, "here"},
		{nil, "/var/lib/keystay"},
		{[]string{"--config", "none.yaml"}, ""},
		{[]string{"--config", "gone.yaml"}, ""},
	} {
		fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
		config.RelayStateFlags(fs)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := config.RelayStateDir(fs)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.args, got, err)
		}
	}
	env(t, "KEYSTAY_RELAY_STATE_DIR=/by/variable")
	if got, err := config.RelayStateDir(nil); got != "/by/variable" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat("state"); err == nil {
		t.Error("the folder was made")
	}
}

// So is that of a remote.
func TestStateDirOfARemotesFileWithMistakes(t *testing.T) {
	dir := inFolder(t, map[string]string{
		"wrong.yaml": "servces: []\nstate_dir: state\n",
		"none.yaml":  "state_dir: [\n",
	})
	env(t, "XDG_STATE_HOME=/xdg")
	usual, err := config.DefaultStateDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--config", filepath.Join(dir, "wrong.yaml")}, filepath.Join(dir, "state")},
		{[]string{"--config", filepath.Join(dir, "wrong.yaml"), "--state-dir", "/other"}, "/other"},
		{[]string{"--state-dir", "here"}, "here"},
		{nil, usual},
		{[]string{"--config", "none.yaml"}, ""},
		{[]string{"--config", "gone.yaml"}, ""},
	} {
		fs := pflag.NewFlagSet("remote", pflag.ContinueOnError)
		config.RemoteStateFlags(fs)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := config.RemoteStateDir(fs)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.args, got, err)
		}
	}
}
