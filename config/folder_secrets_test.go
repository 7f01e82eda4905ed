package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
)

// secretsPlace is a working directory with folders to publish and with files that are
// secret.
func secretsPlace(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("USERPROFILE", os.Getenv("HOME")) // of Windows
	t.Chdir(t.TempDir())
	for _, dir := range []string{"pub/.hidden/state", "pub/state", "pub/app", "ds/sub", "pub-other", "secrets"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const user = "anna:$2a$04$x0Rz1qjJ1wWhAPJ3fOHSIuLFjl3P6oO9VEpYz0qJ6iVDWhJXy9sKi\n"
	for _, file := range []string{"pub/device.pem", "pub/device.key", "pub/token", "pub/users", "pub/.users", "pub/app/client", "secrets/device.key", "secrets/users"} {
		if err := os.WriteFile(file, []byte(user), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// loadLine reads the configuration of a command line.
func loadLine(t *testing.T, line string) error {
	t.Helper()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	if err := fs.Parse(strings.Fields(line)); err != nil {
		t.Fatal(err)
	}
	_, _, err := config.LoadRemote(fs, fs.Args())
	return err
}

// links makes symbolic links, each given by its name and what it leads to.
func links(t *testing.T, all ...string) {
	t.Helper()
	for i := 0; i < len(all); i += 2 {
		if err := os.Symlink(all[i+1], all[i]); err != nil {
			t.Skip(err)
		}
	}
}

// A folder is not published from which a visitor could get a secret of the remote.
func TestPublishedFolderHasNoSecrets(t *testing.T) {
	secretsPlace(t)
	home := os.Getenv("HOME")
	if err := os.MkdirAll(filepath.Join(home, ".local"), 0o700); err != nil {
		t.Fatal(err)
	}
	links(t, "linked", "pub", "toState", "ds", "toKey", filepath.Join("pub", "device.key"), "up", ".")
	tests := []struct {
		line string
		want string // a part of the mistake; empty where there is none
	}{
		{". --state-dir ds", `the state directory "ds"`},
		{".. --state-dir ds", `the state directory "ds"`},
		{"/ --state-dir ds", `the state directory "ds"`},
		{"./ds --state-dir ds", `the state directory "ds"`},
		{"./ds/sub --state-dir ds", `the state directory "ds"`},
		{"./pub --state-dir pub/state", `the state directory "pub/state"`},
		{". --state-dir not/there/yet", `the state directory "not/there/yet"`},
		{"./linked --state-dir pub/state", `the state directory "pub/state"`},
		{"./pub --state-dir linked/state", `the state directory "linked/state"`},
		{"./pub --state-dir linked/new/state", `the state directory "linked/new/state"`},
		{"./ds --state-dir toState", `the state directory "toState"`},
		{"./up/up/pub --state-dir pub/state", `the state directory "pub/state"`},
		{"~/.local --state-dir " + home + "/.local/state/new", "the state directory"},
		{"./pub --state-dir ds --cert pub/device.pem --key pub/device.key", `the private key "pub/device.key"`},
		{"./pub --state-dir ds --cert pub/device.pem --key toKey", `the private key "toKey"`},
		{"./pub --state-dir ds --token-file pub/token", `the file of the token "pub/token"`},
		{"./pub --state-dir ds --auth-file pub/users", `the file of passwords "pub/users"`},
		{"--local ./pub --local text:x --name a --name b --relay r.test --state-dir ds --auth-file pub/users", `the file of passwords "pub/users"`},

		{"~ --state-dir " + home + "/.local/state/new", ""},
		{"./pub --state-dir pub/.hidden/state", ""},
		{"./pub --state-dir pub-other", ""},
		{"./pub-other --state-dir pub", ""},
		{"./pub --state-dir toState", ""},
		{"./pub --state-dir ds --auth-file pub/.users", ""},
		{"./pub --state-dir ds --cert pub/device.pem --key secrets/device.key --auth-file secrets/users", ""},
		{"text:x --state-dir ds --cert pub/device.pem --key pub/device.key", ""},
	}
	for _, tt := range tests {
		err := loadLine(t, tt.line)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(filepath.ToSlash(err.Error()), tt.want) {
			t.Errorf("remote %s: %v; want %q", tt.line, err, tt.want)
		}
	}
}

// What is wrong with a folder is said like all mistakes, with what to do.
func TestPublishedFolderSaysWhatItShows(t *testing.T) {
	secretsPlace(t)
	for line, want := range map[string]string{
		". --state-dir ds": "the argument: visitors of the folder \".\" would get at the state directory \"ds\"\n" +
			"hint: publish another folder, or move the state elsewhere: --state-dir DIR",
		"--local ./pub --state-dir ds --token-file pub/token": "--local: visitors of the folder \"./pub\" would get at the file of the token \"pub/token\"\n" +
			"hint: publish another folder, or move that file out of it",
	} {
		if err := loadLine(t, line); err == nil || err.Error() != want {
			t.Errorf("remote %s: %v, want %s", line, err, want)
		}
	}
}

// So it is in a file, where the secret of one service may be in the folder of another,
// and where the file itself may be in it.
func TestPublishedFolderOfAFile(t *testing.T) {
	secretsPlace(t)
	const cert = "cert: pub/device.pem, key: "
	const oidc = "gate: {oidc: {issuer: https://a.example, client_id: a, emails: [a@example.com], client_secret_file: pub/app/client}}"
	const user = "anna:$2a$04$x0Rz1qjJ1wWhAPJ3fOHSIuLFjl3P6oO9VEpYz0qJ6iVDWhJXy9sKi"
	tests := map[string]struct {
		yaml string
		want string // the key of the mistake
		what string // a part of the mistake
	}{
		"a route":              {"state_dir: ds\nservices: [{routes: [{path: /, local: 3000}, {path: /x/, local: ./}]}]", "services[0].routes[1].local", "the state directory"},
		"the other's key":      {"state_dir: ds\nrelay: r.test\nservices: [{name: a, local: ./pub}, {name: b, local: 3000, " + cert + "pub/device.key}]", "services[0].local", "the private key"},
		"the provider":         {"state_dir: ds\nrelay: r.test\nservices: [{name: a, routes: [{path: /, local: ./pub}], " + oidc + "}]", "services[0].routes[0].local", "the file of the client's secret"},
		"its own token":        {"state_dir: /nowhere\ntoken: x\nservices: [{local: ./}]", "services[0].local", "the configuration"},
		"its own password":     {"state_dir: /nowhere\nservices: [{local: ./, gate: {passwords: ['" + user + "']}}]", "services[0].local", "the configuration"},
		"its own proxy":        {"state_dir: /nowhere\nproxy: http://u:p@127.0.0.1:1\nservices: [{local: ./}]", "services[0].local", "the configuration"},
		"its other proxy":      {"state_dir: /nowhere\nprobe: {proxy: ['http://u:p@127.0.0.1:1']}\nservices: [{local: ./}]", "services[0].local", "the configuration"},
		"its own header":       {"state_dir: /nowhere\nservices: [{routes: [{path: /, local: ./}, {path: /a/, local: 3000, headers: {request: {set: {Authorization: Basic x}}}}]}]", "services[0].routes[0].local", "the configuration"},
		"no secret in it":      {"state_dir: /nowhere\nproxy: http://127.0.0.1:1\nservices: [{local: ./}]", "", ""},
		"a secret and no file": {"state_dir: ds\ntoken: x\nservices: [{local: ./pub}]", "", ""},
		"secrets elsewhere":    {"state_dir: ds\nservices: [{local: ./pub, " + cert + "secrets/device.key}]", "", ""},
	}
	for name, tt := range tests {
		if err := os.WriteFile("remote.yaml", []byte(tt.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		err := loadLine(t, "--config remote.yaml")
		var e *config.Error
		if tt.want == "" && err == nil {
			continue
		}
		if !errors.As(err, &e) || e.Key != tt.want || e.Line == 0 || len(e.Hints) == 0 || !strings.Contains(e.Message, tt.what) {
			t.Errorf("%s: %v; want a mistake of %q about %q", name, err, tt.want, tt.what)
		}
	}
}

// A system that takes capital and small letters for the same does so here too.
func TestPublishedFolderInOtherLetters(t *testing.T) {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		t.Skip("names differ by their letters")
	}
	secretsPlace(t)
	if err := loadLine(t, "./PUB --state-dir pub/state"); err == nil {
		t.Error("published")
	}
}
