package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

// A manager that notes what it is told stands for systemd's; deploy/service-trial has the
// real one.
const noting = `#!/bin/sh
echo "$*" >>"$HOME/told"
case "$*" in
start*) echo active >"$HOME/state" ;;
stop*) echo inactive >"$HOME/state" ;;
enable*) [ ! -e "$HOME/refuse" ] || { echo "Failed to enable unit: no" >&2; exit 1; } ;;
show\ *) echo ActiveState=$(cat "$HOME/state"); echo SubState=dead; [ ! -e "$HOME/code" ] || { echo Result=exit-code; echo ExecMainStatus=$(cat "$HOME/code"); } ;;
esac
`

// ownHome makes a home with such a manager, and leaves nothing of this user's settings.
func ownHome(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bin, "systemctl"), noting, 0o700)
	write(t, filepath.Join(home, "state"), "inactive", 0o600)
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("HOME", home)
	for _, name := range []string{"XDG_STATE_HOME", "STATE_DIRECTORY", "SUDO_USER", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	return home
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// call runs the program's command, and returns what it printed and its exit code.
func call(args ...string) (out, errs string, code int) {
	var stdout, stderr bytes.Buffer
	c := command()
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	c.SetArgs(args)
	code = cli.Main(c)
	return stdout.String(), stderr.String(), code
}

// A service is installed with the settings of its command line, started, looked at,
// stopped and uninstalled; settings and key stay.
func TestServiceIsInstalledWithItsSettings(t *testing.T) {
	home := ownHome(t)
	work := filepath.Join(home, "work")
	if err := os.MkdirAll(filepath.Join(work, "public"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	state := filepath.Join(home, ".local", "state", "keystay")
	settings := filepath.Join(state, "service.yaml")
	unitFile := filepath.Join(home, ".config", "systemd", "user", "keystay-remote.service")

	if _, errs, code := call("service", "start", "--user"); code != cli.ExitFailed || !strings.Contains(errs, hint.ServiceMissing.Do[0]) {
		t.Fatalf("before: code %d, %s", code, errs)
	}
	if _, errs, code := call("service", "install", "--user", "./public", "--relay", "relay net"); code != cli.ExitUsage || !strings.Contains(errs, "--relay") {
		t.Fatalf("a mistake: code %d, %s", code, errs)
	}
	out, errs, code := call("service", "install", "--user", "./public", "--relay", "relay.test", "--token", "geheim-17")
	for _, want := range []string{unitFile, settings, state, "a new one is made"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said: %s", want, out)
		}
	}
	if code != 0 || !strings.Contains(errs, "loginctl enable-linger") {
		t.Fatalf("code %d, %s", code, errs)
	}
	if _, errs, code := call("service", "install", "--user", "--as", "nobody", "3000"); code != cli.ExitUsage || !strings.Contains(errs, "--as is for") {
		t.Errorf("--as: code %d, %s", code, errs)
	}
	if text := readText(t, settings); !strings.Contains(text, "local: "+work+"/public\n") || strings.Contains(text, "geheim") {
		t.Errorf("settings: %s", text)
	}
	if text := readText(t, unitFile); !strings.Contains(text, `"--config" "`+settings+`"`) || strings.Contains(text, "geheim") {
		t.Errorf("unit: %s", text)
	}
	if text := readText(t, filepath.Join(state, "service.token")); text != "geheim-17\n" {
		t.Errorf("token file: %q", text)
	}
	for path, want := range map[string]fs.FileMode{state: 0o700, settings: 0o600, filepath.Join(state, "service.token"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if cfg, _, err := loadFile(settings); err != nil || string(cfg.Token) != "geheim-17" || cfg.StateDir != state {
		t.Errorf("the settings mean %+v, %v", cfg, err)
	}

	before := readText(t, settings)
	if _, errs, code := call("service", "install", "--user", "4000"); code != cli.ExitUsage || !strings.Contains(errs, "edit "+settings) || readText(t, settings) != before {
		t.Errorf("twice: code %d, %s", code, errs)
	}
	for _, word := range []string{"start", "status", "stop"} {
		if out, errs, code := call("service", word, "--user"); code != 0 || word == "status" && !strings.Contains(out, "keystay-remote: active") {
			t.Errorf("%s: code %d, %s %s", word, code, out, errs)
		}
	}
	write(t, filepath.Join(home, "state"), "active", 0o600)
	if err := os.Rename(settings, settings+".away"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := call("service", "status", "--user"); code != 0 || !strings.Contains(out, "cannot be read by this user") {
		t.Errorf("settings that cannot be read: code %d, %s %s", code, out, errs)
	}
	if err := os.Rename(settings+".away", settings); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "state"), "inactive", 0o600)
	write(t, filepath.Join(home, "code"), "3", 0o600)
	if out, errs, code := call("service", "status", "--user"); code != cli.ExitFailed || !strings.Contains(out, "inactive (dead), exit code 3") || !strings.Contains(out, settings) {
		t.Errorf("stopped: code %d, %s %s", code, out, errs)
	}
	out, errs, code = call("service", "uninstall", "--user")
	if _, err := os.Stat(unitFile); code != 0 || !errors.Is(err, fs.ErrNotExist) || readText(t, settings) != before || !strings.Contains(out, state) {
		t.Errorf("uninstall: code %d, %v, %s %s", code, err, out, errs)
	}
	told := strings.Split(strings.TrimSpace(readText(t, filepath.Join(home, "told"))), "\n")
	told = slices.DeleteFunc(told, func(l string) bool { return strings.Contains(l, "show") })
	want := []string{"enable --user keystay-remote.service", "daemon-reload --user", "start keystay-remote.service --user",
		"stop keystay-remote.service --user", "disable --user keystay-remote.service", "daemon-reload --user"}
	if !slices.Equal(told, want) {
		t.Errorf("systemctl is told %q, want %q", told, want)
	}

	// anew, with other settings: the first ones are kept beside them
	if _, errs, code := call("service", "install", "--user", "4000", "--relay", "relay.test"); code != 0 || readText(t, settings+".old") != before {
		t.Errorf("anew: code %d, %s", code, errs)
	}
}

func loadFile(file string) (*config.Remote, []config.Warning, error) {
	c := &cobra.Command{}
	config.RemoteFlags(c.Flags())
	_ = c.Flags().Set("config", file)
	return config.LoadRemote(c.Flags(), nil)
}

// A service manager that refuses leaves no unit.
func TestRefusedServiceIsNotThere(t *testing.T) {
	home := ownHome(t)
	write(t, filepath.Join(home, "refuse"), "", 0o600)
	if _, errs, code := call("service", "install", "--user", "3000", "--relay", "relay.test"); code != cli.ExitFailed || !strings.Contains(errs, "Failed to enable unit: no") {
		t.Errorf("code %d, %s", code, errs)
	}
	if _, errs, code := call("service", "status", "--user"); code != cli.ExitFailed || !strings.Contains(errs, "not installed") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// A file of settings is taken as it is, and nothing beside it is lost in silence.
func TestServiceTakesAFileAsItIs(t *testing.T) {
	home := ownHome(t)
	t.Chdir(home)
	write(t, "remote.yaml", "relay: relay.test\nservices: [{local: 3000}]\n", 0o600)
	_, errs, code := call("service", "install", "--user", "--config", "remote.yaml", "--log-level", "debug")
	if code != cli.ExitUsage || !strings.Contains(errs, "--log-level would not count") {
		t.Errorf("with a flag: code %d, %s", code, errs)
	}
	if out, errs, code := call("service", "install", "--user", "--config", "remote.yaml"); code != 0 || !strings.Contains(out, home+"/remote.yaml") {
		t.Fatalf("code %d, %s %s", code, out, errs)
	}
	text := readText(t, filepath.Join(home, ".config", "systemd", "user", "keystay-remote.service"))
	if want := `"--config" "` + home + `/remote.yaml" "--state-dir" "` + home + `/.local/state/keystay"`; !strings.Contains(text, want) {
		t.Errorf("no %s in %s", want, text)
	}
}

// Without a service manager there is no service, and a hint.
func TestNoServiceManagerIsSaid(t *testing.T) {
	home := ownHome(t)
	t.Setenv("PATH", home)
	for _, word := range []string{"install", "start", "status", "logs", "uninstall"} {
		args := []string{"service", word, "--user"}
		if word == "install" {
			args = append(args, "3000", "--relay", "relay.test")
		}
		if _, errs, code := call(args...); code != cli.ExitFailed || !strings.Contains(errs, hint.NoServiceManager.Do[0]) {
			t.Errorf("%s: code %d, %s", word, code, errs)
		}
	}
}

// A service never makes another key where this user has one, and never runs where it
// could not write.
func TestServiceKeepsTheKey(t *testing.T) {
	home := ownHome(t)
	here := filepath.Join(home, "here")
	key := func(dir string) {
		if err := makeOwned(dir, &user.User{Uid: "0", Gid: "0"}); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "identity.pem"), "damaged, which is a key too\n", 0o600)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	try := func(ownerHome, stateDir string, o user.User) error {
		c := &cobra.Command{}
		config.RemoteFlags(c.Flags())
		if stateDir != "" {
			_ = c.Flags().Set("state-dir", stateDir)
		}
		o.HomeDir = ownerHome
		i := &installation{cmd: c, owner: &o, cfg: &config.Remote{StateDir: here}}
		return i.chooseState()
	}
	other := *me
	other.Uid, other.Username = "4294967", "other"
	mine := filepath.Join(home, "mine")
	if err := try(filepath.Join(home, "a"), "", *me); err != nil {
		t.Errorf("no key anywhere: %v", err)
	}
	key(here)
	var e *cli.Error
	if err := try(mine, "", other); !errors.As(err, &e) || e.Code != cli.ExitUsage || !strings.Contains(err.Error(), here) || !strings.Contains(strings.Join(hint.All(err), " "), "identity import") {
		t.Errorf("the key is elsewhere: %v", err)
	}
	if _, err := os.Stat(mine); err == nil {
		t.Error("a folder is made all the same")
	}
	if err := try(mine, "", *me); err != nil {
		t.Errorf("the service is this user's: %v", err)
	}
	if err := try(mine, here, other); !errors.As(err, &e) || !strings.Contains(err.Error(), "belongs to "+me.Username) {
		t.Errorf("another's folder: %v", err)
	}
	if err := try(mine, filepath.Join(home, "third"), *me); err != nil {
		t.Errorf("another device: %v", err)
	}
	if _, err := remote.PeekIdentity(here); errors.Is(err, remote.ErrNoIdentity) {
		t.Error("the key has gone")
	}
}

// A unit is kept from homes and temporary folders where it needs nothing of them.
func TestUnitSeesWhatItNeeds(t *testing.T) {
	for _, c := range []struct {
		path             string
		homes, temporary bool
	}{
		{"/home/bob/site", true, false},
		{"/homely", false, false},
		{"/root", true, false},
		{"/tmp/x", false, true},
		{"/var/www", false, false},
		{"", false, false},
	} {
		i := &installation{owner: &user.User{Username: "svc", HomeDir: "/nonexistent"}, stateDir: "/var/lib/k", file: "/etc/k.yaml",
			cfg: &config.Remote{Services: []config.Service{{Routes: []config.Route{{Local: config.Local{Kind: config.LocalFolder, Folder: c.path}}}}}}}
		u, err := i.unit(false, nil)
		if err != nil {
			t.Fatal(err)
		}
		program := u.Program
		if homes, temporary := c.homes || liesIn(program, "/home", "/root"), c.temporary || liesIn(program, "/tmp"); u.Homes != homes || u.Temporary != temporary {
			t.Errorf("%q: homes %v, temporary %v", c.path, u.Homes, u.Temporary)
		}
		i.cfg.Listen = []string{"[::]:8443", "192.0.2.1:443"}
		if low, err := i.unit(false, nil); err != nil || !low.LowPorts || u.LowPorts {
			t.Errorf("low ports: %v, %v, before %v", low.LowPorts, err, u.LowPorts)
		}
		if u.StopTimeout != endTime || !slices.Equal(u.Final, []int{3, 4, 5}) || u.Name != unitName {
			t.Errorf("%+v", u)
		}
	}
}
