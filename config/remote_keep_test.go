package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
)

// What is kept of a command line says the same from any folder, without its flags.
func TestKeptSettingsSayTheSame(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const hash = "anna:$2a$04$x0Rz1qjJ1wWhAPJ3fOHSIuLFjl3P6oO9VEpYz0qJ6iVDWhJXy9sKi"
	for _, file := range []string{"roots.pem", "token", "cert.pem", "key.pem", "users"} {
		if err := os.WriteFile(file, []byte(hash+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("public", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"3000",
		"./public",
		"--tcp 22 --relay relay.net",
		"3000 --tcp 22 --tcp nas:445 --deny 192.0.2.1 --relay relay.net --listen :8443 --plain --metrics",
		"-p 3000 -s app --host https://relay.net",
		"--domain a.relay.net --name notes --local :3000 --local ./public --relay relay.net --relay r.example.org",
		"--domain a.relay.net --local text:yes --token-file token --relay-root roots.pem --acme-root roots.pem --acme-ca https://ca.example/d",
		"--domain a.relay.net --local redirect:https://example.org/?a=#b --replica --trust-private-addresses --ct off --wait 5m --drain-timeout 0s",
		"--local 3000 --allow 192.0.2.0/24 --deny 192.0.2.1 --host-header target --auth-file users --proxy http://u:p@127.0.0.1:3128",
		"--local 3000 --on-intercept-run /bin/a,b --on-intercept-run yes --on-intercept stop --log-level debug --log-format json --probe-with b.example.org",
		"--domain a.relay.net --local 3000 --cert cert.pem --key key.pem --dns 9.9.9.9",
		"3000 --domain a.relay.net --acme-email me@example.org --key-type rsa",
	} {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		config.RemoteFlags(fs)
		if err := fs.Parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		said, _, err := config.LoadRemote(fs, fs.Args())
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		kept, err := config.KeepRemote(fs, fs.Args(), filepath.Join(dir, "state"), "")
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		file := filepath.Join(t.TempDir(), "service.yaml")
		if err := os.WriteFile(file, kept.YAML, 0o600); err != nil {
			t.Fatal(err)
		}
		read := pflag.NewFlagSet("", pflag.ContinueOnError)
		config.RemoteFlags(read)
		if err := read.Parse([]string{"--config", file}); err != nil {
			t.Fatal(err)
		}
		is, _, err := config.LoadRemote(read, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, kept.YAML)
			continue
		}
		said.StateDir = filepath.Join(dir, "state")
		for _, path := range []*string{&said.TokenFile, &said.RelayRoot, &said.ACMERoot} {
			whole(path)
		}
		for i := range said.Services {
			whole(&said.Services[i].Cert)
			whole(&said.Services[i].Key)
			for j := range said.Services[i].Gates {
				whole(&said.Services[i].Gates[j].PasswordFile)
			}
		}
		if !reflect.DeepEqual(said, is) {
			t.Errorf("%s:\n%+v\n%+v\n%s", line, said, is, kept.YAML)
		}
	}
}

// whole makes a path absolute.
func whole(path *string) {
	if *path != "" {
		*path, _ = filepath.Abs(*path)
	}
}

// A token goes to a file of its own, and variables count as flags do.
func TestTokenIsKeptApart(t *testing.T) {
	t.Setenv("KEYSTAY_REMOTE_TOKEN", "geheim-1")
	t.Setenv("KEYSTAY_REMOTE_DOMAIN", "a.relay.net")
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	kept, err := config.KeepRemote(fs, []string{"3000"}, "/s", "/s/service.token")
	if err != nil {
		t.Fatal(err)
	}
	if kept.Token != "geheim-1" || strings.Contains(string(kept.YAML), "geheim") {
		t.Errorf("token %q\n%s", string(kept.Token), kept.YAML)
	}
	want := "services:\n  - domain:\n      - a.relay.net\n    local: \"3000\"\nstate_dir: /s\ntoken_file: /s/service.token\n"
	if string(kept.YAML) != want {
		t.Errorf("%s\nwant\n%s", kept.YAML, want)
	}
}

// A state directory that nobody says is not made up.
func TestStateDirThatIsSaid(t *testing.T) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RemoteStateFlags(fs)
	if dir, err := config.RemoteStateSaid(fs); dir != "" || err != nil {
		t.Errorf("%q, %v", dir, err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	_ = fs.Set("state-dir", "x")
	if got, err := config.RemoteStateSaid(fs); got != filepath.Join(dir, "x") || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var dirs []string
	for _, goos := range []string{"linux", "darwin"} {
		dir, err := config.StateDirOf(goos, "/home/alice")
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	if want := []string{"/home/alice/.local/state/keystay", "/home/alice/Library/Application Support/keystay"}; !slices.Equal(dirs, want) {
		t.Errorf("%q, want %q", dirs, want)
	}
}
