package unit

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// units are those of the golden files.
func units() map[string]*Unit {
	u := Unit{
		Name: "keystay-remote", Description: "keystay remote", Program: "/usr/local/bin/remote",
		Args: []string{"--config", "/home/alice/.local/state/keystay/service.yaml"}, User: "alice",
		State: "/home/alice/.local/state/keystay", Homes: true, Log: "/home/alice/.local/state/keystay/service.log",
		StopTimeout: 40 * time.Second, Final: []int{3, 4, 5},
	}
	ofUser, odd, tight := u, u, u
	ofUser.OfUser = true
	odd.Program, odd.Args = `/opt/50% off/$re mote`, []string{"--config", `/home/a&b <c>/$HOME/%h "x" 'y'/service.yaml`}
	odd.State, odd.Temporary = `/home/a&b <c>/$HOME`, true
	tight.Homes, tight.Args = false, []string{"--config", "/etc/keystay/remote.yaml", "--state-dir", "/var/lib/keystay-remote"}
	ports := tight
	ports.LowPorts = true
	tight.User, tight.State = "keystay", "/var/lib/keystay-remote"
	return map[string]*Unit{"machine": &u, "user": &ofUser, "odd": &odd, "tight": &tight, "ports": &ports}
}

// golden compares a text with the file of that name.
func golden(t *testing.T, name, is string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(is), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != is {
		t.Errorf("%s differs (%v); go test ./internal/unit -update writes it:\n%s", path, err, is)
	}
}

// What is written for each manager is what the golden files show.
func TestUnitsAreWritten(t *testing.T) {
	for name, u := range units() {
		if err := u.check(Systemd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		golden(t, name+".service", u.systemd())
		golden(t, name+".plist", u.launchd())
	}
	settings, err := json.MarshalIndent(units()["machine"].windowsSettings(), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "windows.json", string(settings)+"\n")
}

// The command that a unit was written with is read from it, whatever is in its paths.
func TestCommandIsReadBack(t *testing.T) {
	for name, u := range units() {
		want := append([]string{u.Program}, u.Args...)
		if got := systemdCommand(u.systemd()); !slices.Equal(got, want) {
			t.Errorf("%s: systemd: %q, want %q", name, got, want)
		}
		if got := launchdCommand(u.launchd()); !slices.Equal(got, want) {
			t.Errorf("%s: launchd: %q, want %q", name, got, want)
		}
	}
	for _, text := range []string{"", "ExecStart=", `ExecStart="`, `ExecStart="\`, "<plist><key>ProgramArguments</key>", "<array><string>a"} {
		if got := append(systemdCommand(text), launchdCommand(text)...); len(got) > 1 {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// A property list is XML with one value behind each key.
func TestPropertyListIsWellFormed(t *testing.T) {
	for name, u := range units() {
		var list struct {
			Keys []string `xml:"dict>key"`
		}
		d := xml.NewDecoder(strings.NewReader(u.launchd()))
		d.Strict = true
		if err := d.Decode(&list); err != nil || len(list.Keys) < 10 {
			t.Errorf("%s: %v, keys %q", name, err, list.Keys)
		}
		if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: behind its end: %v", name, err)
		}
	}
}

// systemd takes the files as they are, without a word.
func TestSystemdVerifiesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("the units are compared with their golden files; systemd-analyze, which verifies them too, is not here")
	}
	u := *units()["odd"]
	dir := filepath.Join(t.TempDir(), `50% off`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	u.Program, u.User = filepath.Join(dir, "$re mote"), "root"
	if err := os.WriteFile(u.Program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, ofUser := range []bool{false, true} {
		u.OfUser = ofUser
		file := filepath.Join(t.TempDir(), "keystay-test.service")
		if err := os.WriteFile(file, []byte(u.systemd()), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "--man=no", "--recursive-errors=no", file}
		if ofUser {
			args = append([]string{"--user"}, args...)
		}
		c := exec.Command("systemd-analyze", args...)
		c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("of a user %v: %v\n%s\n%s", ofUser, err, out, u.systemd())
		}
	}
}

// A manager is told nothing that could be read as a line of its own.
func TestNoLineIsSmuggledIn(t *testing.T) {
	for _, path := range []string{"/a\nExecStartPre=/bin/sh", "/a\r", "/{{Path}}"} {
		u := *units()["machine"]
		u.Args = []string{path}
		if u.check(Launchd) == nil || (&Manager{Kind: Systemd}).Install(&u) == nil {
			t.Errorf("%q is taken", path)
		}
	}
}

// systemd starts no program with a quote in its name.
func TestNameOfTheProgramIsOneThatSystemdTakes(t *testing.T) {
	u := *units()["machine"]
	u.Program = `/opt/"a"/remote`
	if u.check(Systemd) == nil || u.check(Launchd) != nil {
		t.Error(u.check(Systemd), u.check(Launchd))
	}
}

// Whoever runs the unit of the machine by hand is told the program's own exit code.
func TestExitCodeIsTheProgramsOwn(t *testing.T) {
	for _, code := range []int{0, 1, 3} {
		if got := Run("keystay-remote", []int{3}, func(context.Context) int { return code }); got != code {
			t.Errorf("%d, want %d", got, code)
		}
	}
}
