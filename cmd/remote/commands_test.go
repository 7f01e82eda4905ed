package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

// code is the exit code of an error.
func code(err error) int {
	var e *cli.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return cli.ExitFailed
}

// What ends a release has the exit code that its help promises, and says what to do.
func TestExitCodesOfRelease(t *testing.T) {
	at := func(err error) error { return fmt.Errorf("relay relay.net: %w", err) }
	for _, c := range []struct {
		err    error
		code   int
		advice *hint.Advice
	}{
		{nil, 0, nil},
		{at(&framing.NotReleased{Text: "this device does not hold the name"}), 3, hint.NotHeld},
		{at(&framing.NotReleased{Text: "moving", Later: true}), 1, nil},
		{&framing.Refusal{Code: framing.RefusedBanned}, 3, hint.Banned},
		{&framing.Refusal{Code: framing.RefusedBusy}, 1, nil},
		{at(framing.ErrNoRelease), 1, hint.NoRelease},
		{fmt.Errorf("release x: %w", remote.ErrNoIdentity), 2, hint.NoIdentity},
		{remote.ErrNoRelay, 2, nil},
		{errors.New("no route"), 1, nil},
	} {
		err := releaseError(&config.Remote{Domain: "xyz.relay.net"}, c.err)
		if code(err) != c.code || c.advice != nil && !slices.Equal(hint.All(err), c.advice.Do) {
			t.Errorf("%v: code %d, %q", c.err, code(err), hint.All(err))
		}
	}
}

// Whoever is banned, or whose name is taken while the remote runs, is told by code 3
// why and what the relay advises.
func TestWhatARelayTakesEndsWithItsReason(t *testing.T) {
	for d, advice := range map[framing.DenialCode]*hint.Advice{
		framing.DeniedBanned: hint.Banned, framing.DeniedReleased: hint.Released, framing.DeniedTaken: hint.NameTaken,
	} {
		err := finalError(&framing.Denial{Name: "xyz.relay.net", Code: d, Text: "abuse", Hint: "write to us"}, false)
		if hints := hint.All(err); code(err) != 3 || err.Error() != "xyz.relay.net: abuse" || !slices.Equal(hints, append(slices.Clone(advice.Do), "write to us")) {
			t.Errorf("%v: code %d, %q", err, code(err), hints)
		}
	}
}

// execute runs a command of the program.
func execute(stdin string, args ...string) (out string, err error) {
	var b bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	err = cmd.Execute()
	return b.String(), err
}

// A token is kept from standard input or a file, without being shown, and removed.
func TestLogin(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "tokens", "relay.net")
	file := filepath.Join(dir, "token.txt")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"sesame\n", nil, "sesame\n"},
		{" open \r\n", nil, "open\n"},
		{"", []string{"--token-file", file}, "from a file\n"},
	} {
		out, err := execute(c.stdin, append([]string{"login", "Relay.net:8443", "--state-dir", dir}, c.args...)...)
		b, _ := os.ReadFile(kept)
		if err != nil || string(b) != c.want || strings.Contains(out, strings.TrimSpace(c.want)) {
			t.Errorf("%q: kept %q, %v; said %q", c.args, b, err, out)
		}
	}
	for _, stdin := range []string{"", "\n", "two\nlines\n", strings.Repeat("x", config.MaxSecret+1)} {
		_, err := execute(stdin, "login", "relay.net", "--state-dir", dir)
		if hinted := slices.Equal(hint.All(err), hint.NoTokenGiven.Do); code(err) != cli.ExitUsage || hinted != (len(stdin) < 2) {
			t.Errorf("%.20q: %v", stdin, err)
		}
	}
	for _, want := range []string{"is removed", "no token was kept"} {
		if out, err := execute("", "login", "relay.net", "--state-dir", dir, "--remove"); err != nil || !strings.Contains(out, want) {
			t.Errorf("said %q, %v; want %q", out, err, want)
		}
	}
	if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

// A command without its argument, or with another one, is a mistake of usage.
func TestUsageOfCommands(t *testing.T) {
	for _, args := range [][]string{{"release"}, {"release", "a.relay.net", "b.relay.net"}, {"release", "xyz"}, {"login"}, {"login", "192.0.2.1"}, {"release", "a.relay.net", "--local", "3000"}} {
		if _, err := execute("", append(args, "--state-dir", t.TempDir())...); code(err) != cli.ExitUsage || len(hint.All(err)) == 0 {
			var list config.Errors
			if !errors.As(err, &list) {
				t.Errorf("%q: %v", args, err)
			}
		}
	}
	if _, err := execute("", "release", "a.relay.net", "--relay", "relay.net", "--state-dir", t.TempDir()); code(err) != cli.ExitUsage || !errors.Is(err, remote.ErrNoIdentity) {
		t.Errorf("without an identity: %v", err)
	}
}

// A word that is no local service is answered with every command that there is.
func TestEveryCommandIsNamedWhereOneWasMeant(t *testing.T) {
	cmd := command()
	cmd.SetArgs([]string{"nonsense"})
	cmd.SetErr(new(bytes.Buffer))
	var b bytes.Buffer
	cli.Print(&b, "remote", cmd.Execute())
	said := b.String()
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && !strings.Contains(said, sub.Name()) {
			t.Errorf("%s is missing: %s", sub.Name(), said)
		}
	}
}

// A token that was typed as an argument is not shown again, and its owner is told why
// it is none.
func TestTokenAsAnArgumentIsNotShown(t *testing.T) {
	for args, want := range map[string]string{
		"login relay.net secret-of-mine":         "a token is no argument",
		"login relay.net --token secret-of-mine": "did you mean --token-file?",
		"password ada secret-of-mine":            "a password is no argument",
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(args))
		var b bytes.Buffer
		cmd.SetErr(&b)
		err := cmd.Execute()
		cli.Print(&b, "remote", err)
		if code(err) != cli.ExitUsage || !strings.Contains(b.String(), want) || strings.Contains(b.String(), "secret-of-mine") {
			t.Errorf("%s: code %d, %s", args, code(err), b.String())
		}
	}
}

// Every command answers a word below it that is none, and more arguments than it
// takes, as a mistake of usage with a hint.
func TestArgumentsThatNoCommandTakesAreAMistakeOfUsage(t *testing.T) {
	var paths [][]string
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			next := append(slices.Clone(path), sub.Name())
			paths = append(paths, next)
			walk(sub, next)
		}
	}
	walk(command(), nil)
	for _, path := range paths {
		cmd := command()
		cmd.SetArgs(append(path, "zzzz", "a.b.test", "c.d.test", "--state-dir="+t.TempDir()))
		if found, _, err := cmd.Find(path); err == nil && found.Flags().Lookup("state-dir") == nil {
			cmd.SetArgs(append(path, "zzzz", "a.b.test", "c.d.test"))
		}
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		err := cmd.Execute()
		var e *cli.Error
		hinted := len(hint.All(err)) > 0 || err != nil && strings.Contains(err.Error(), "hint: ") // a mistake of the configuration has them in its text
		if !errors.As(err, &e) || e.Code != cli.ExitUsage || !hinted || strings.Contains(err.Error(), "flag") {
			t.Errorf("%q: %v, hints %q", path, err, hint.All(err))
		}
	}
	if len(paths) < 10 {
		t.Errorf("only %q", paths)
	}
}

// A word that is near to a command is answered with it, and each command without a file
// of settings says how its state is named.
func TestCommandSaysWhatWasMeant(t *testing.T) {
	for args, want := range map[string]string{
		"identity shwo":                      "did you mean remote identity show?",
		"identity zzzz":                      "the commands are export, import, rotate, show",
		"identity show --config remote.yaml": "--state-dir DIR",
		"identity rotate now":                "see remote identity rotate --help",
		"share --config remote.yaml":         "--state-dir DIR",
		"release a.b.test --config r.yaml":   "--state-dir DIR",
		"dns a.b.test --config r.yaml":       "--state-dir DIR",
		"login relay.net --config r.yaml":    "--state-dir DIR",
		"check 3000 --domain x.relay.net":    "did you mean remote check --local 3000?",
		"check remote.yaml":                  "did you mean remote check --config remote.yaml?",
		"help shaer":                         "did you mean remote share?",
	} {
		if _, err := execute("", strings.Fields(args)...); code(err) != cli.ExitUsage || !strings.Contains(strings.Join(hint.All(err), "; "), want) {
			t.Errorf("%s: code %d, %v, hints %q, want %s", args, code(err), err, hint.All(err), want)
		}
	}
}
