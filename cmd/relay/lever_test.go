package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// A mistake that no relay has to be asked about is told as that, and not as a relay
// that cannot be reached.
func TestMistakeOfUsageIsNoRelayThatIsAway(t *testing.T) {
	for args, want := range map[string]string{
		"audit --since yesterday":            `--since: "yesterday" is no time`,
		"audit -n 0":                         "--number: 0 is not from 1",
		"names list --reserved --banned":     "give one of them",
		"names list --banned --contains x":   "not with --reserved or --banned",
		"token create --names a --uses many": `--uses: "many" is no whole number`,
	} {
		cmd := command()
		cmd.SetArgs(append(strings.Fields(args), "--state-dir", t.TempDir()))
		cmd.SetErr(new(bytes.Buffer))
		err := cmd.Execute()
		var e *cli.Error
		if !errors.As(err, &e) || e.Code != cli.ExitUsage || !strings.Contains(err.Error(), want) || strings.Contains(strings.Join(hint.All(err), " "), "running") {
			t.Errorf("%s: %v, hints %q, want %s", args, err, hint.All(err), want)
		}
	}
}

// A flag that is called otherwise, or is missing, is named.
func TestFlagOfALeverIsNamedThatWasMeant(t *testing.T) {
	for args, want := range map[string]string{
		"token create a.relay.test b.relay.test": "did you mean --names a.relay.test,b.relay.test?",
		"token revoke 0 --names":                 "did you mean --with-names?",
		"names ban a.relay.test --until 1d":      "did you mean --for?",
		"status --output json":                   "did you mean --json?",
	} {
		cmd := command()
		cmd.SetArgs(append(strings.Fields(args), "--state-dir", t.TempDir()))
		cmd.SetErr(new(bytes.Buffer))
		err := cmd.Execute()
		var e *cli.Error
		if !errors.As(err, &e) || e.Code != cli.ExitUsage || !strings.Contains(strings.Join(hint.All(err), " "), want) {
			t.Errorf("%s: %v, hints %q, want %s", args, err, hint.All(err), want)
		}
	}
}

func TestWhatHasEndedIsMarked(t *testing.T) {
	for at, want := range map[time.Time]string{
		{}:                           "",
		time.Now().Add(-time.Minute): ", over",
		time.Now().Add(time.Hour):    time.Now().Add(time.Hour).Format(time.DateOnly),
	} {
		if got := until(at); !strings.HasSuffix(got, want) || (want == "") != (got == "") {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}

func TestDaysAreATimeToLookBack(t *testing.T) {
	week, err := past("7d")
	if err != nil {
		t.Fatal(err)
	}
	hours, err := past("168h")
	if diff := hours.Sub(week).Abs().Hours(); err != nil || diff > 2 { // a change of the clock's time
		t.Errorf("%v and %v: %v", week, hours, err)
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
		if !errors.As(err, &e) || e.Code != cli.ExitUsage || len(hint.All(err)) == 0 || strings.Contains(err.Error(), "flag") {
			t.Errorf("%q: %v, hints %q", path, err, hint.All(err))
		}
	}
	if len(paths) < 10 {
		t.Errorf("only %q", paths)
	}
}
