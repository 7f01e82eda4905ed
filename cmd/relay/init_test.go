package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/internal/cli"
)

// initialize runs relay init, which nobody is there to answer.
func initialize(args ...string) (code int, out, log string) {
	var o, l bytes.Buffer
	cmd := command()
	cmd.SetArgs(append([]string{"init"}, args...))
	cmd.SetIn(strings.NewReader(""))
	cmd.SetOut(&o)
	cmd.SetErr(&l)
	return cli.Main(cmd), o.String(), l.String()
}

// What is written can be used, says what was said, and is the commented file otherwise.
func TestInitWritesAFileThatCanBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.yaml")
	code, out, log := initialize(file, "--domain", "Relay.Test.", "--email", "me@relay.test", "--abuse", "abuse@relay.test", "--state-dir", "/srv/a b")
	if code != 0 || !strings.Contains(out, "relay check --config "+file) || !strings.Contains(out, "relay token create") {
		t.Fatalf("exit code %d: %s%s", code, out, log)
	}
	flags := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(flags)
	flags.Set("config", file)
	cfg, _, err := config.LoadRelay(flags)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Domain != "relay.test" || cfg.Names.Policy != "token" || cfg.ACME.Email != "me@relay.test" || cfg.Abuse != "mailto:abuse@relay.test" || cfg.StateDir != "/srv/a b" {
		t.Errorf("%+v", cfg)
	}
	text, _ := os.ReadFile(file)
	if n := strings.Count(string(text), "#"); n < 80 {
		t.Errorf("%d lines have comments", n)
	}
}

// A file that is there is left alone, and none is written that a start would refuse.
func TestInitOverwritesNothingAndWritesNoMistake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.yaml")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{file}, "--domain is missing"},
		{[]string{file, "--domain", "relay.net"}, "stands in the documents"},
		{[]string{file, "--domain", "relay.test", "--policy", "opne"}, `did you mean "open"?`},
		{[]string{file, "--domain", "relay.test", "--email", "a\"b"}, "is no mail address"},
		{[]string{file, "more", "--domain", "relay.test"}, "one file is written"},
	} {
		if code, _, log := initialize(c.args...); code != cli.ExitUsage || !strings.Contains(log, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, log)
		}
		if _, err := os.Lstat(file); err == nil {
			t.Fatalf("%v has written it", c.args)
		}
	}
	os.WriteFile(file, []byte("mine"), 0o600)
	if code, _, log := initialize(file, "--domain", "relay.test"); code != cli.ExitUsage || !strings.Contains(log, "is there already") || !strings.Contains(log, "hint:") {
		t.Errorf("exit code %d, %s", code, log)
	}
	if b, _ := os.ReadFile(file); string(b) != "mine" {
		t.Errorf("it is %q now", b)
	}
	if code, _, log := initialize(filepath.Join(file, "x.yaml"), "--domain", "relay.test"); code != cli.ExitFailed || !strings.Contains(log, "hint:") {
		t.Errorf("exit code %d, %s", code, log)
	}
}
