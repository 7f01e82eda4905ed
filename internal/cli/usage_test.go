package cli_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// remoteLike is a command with some of the remote's flags.
func remoteLike(out io.Writer) *cobra.Command {
	cmd := &cobra.Command{Use: "remote", Args: cli.NoArgs(), Run: func(*cobra.Command, []string) {}}
	for _, name := range []string{"domain", "local", "relay", "relay-address", "token", "config", "log-level"} {
		cmd.Flags().String(name, "", map[string]string{"domain": "the `NAME`", "relay": "the `RELAY`"}[name])
	}
	cmd.Flags().Bool("replica", false, "")
	cmd.SetOut(out)
	return cli.Root(cmd)
}

// A mistake on the command line ends with code 2, and its hint is what was meant.
func TestMistakeOfUsageNamesWhatWasMeant(t *testing.T) {
	const help = "see remote --help"
	for _, c := range []struct{ args, hints string }{
		{"--domian x", "did you mean --domain?; " + help},
		{"--relay-adress=x", "did you mean --relay-address?; " + help},
		{"--Domain x", "did you mean --domain?; " + help},
		{"-config x", "did you mean --config?; " + help},
		{"-domian=x", "did you mean --domain?; " + help},
		{"--port 3000", "did you mean --local?; " + help},
		{"--subdomain x", "did you mean --domain?; " + help},
		{"--host x", "did you mean --relay?; " + help},
		{"--authtoken x", "did you mean --token?; " + help},
		{"--zzzzzz", help},
		{"-x", help},
		{"-1", "a port is a number from 1 to 65535, as in remote 3000; " + help},
		{"-3000", "a port is a number from 1 to 65535, as in remote 3000; " + help},
		{"-p 3000", "did you mean --local?; " + help},
		{"-s app", "did you mean --domain?; " + help},
		{"-c x", "did you mean --config?; " + help},
		{"--domain", "as in --domain NAME; " + help},
		{"--relay", "as in --relay RELAY; " + help},
		{"--replica=maybe", "the flag alone switches it on: --replica; " + help},
		{"--help=maybe", "the flag alone switches it on: --help; " + help},
		{"versoin", "did you mean remote version?; " + help},
		{"check", "the commands are completion, help, version; remote alone, with its flags, is what runs; " + help},
		{"relay.yaml", "did you mean remote --config relay.yaml?; " + help},
		{"usage_test.go", "did you mean remote --config usage_test.go?; " + help},
		{"man /dev/null/x", "name a folder that you may write, or do it as root"},
		{"completion tcsh", "remote completion bash, zsh, fish or powershell"},
		{"completion bash x", "see remote completion bash --help"},
		{"help versoin", "did you mean remote version?; " + help},
		{"help version extra", "see remote version --help"},
		{"version extra", "see remote version --help"},
		{"man", "see remote man --help"},
	} {
		cmd := remoteLike(io.Discard)
		cmd.SetArgs(strings.Fields(c.args))
		err := cmd.Execute()
		var e *cli.Error
		usage := errors.As(err, &e) && e.Code == cli.ExitUsage
		if usage == strings.HasPrefix(c.args, "man /") || strings.Join(hint.All(err), "; ") != c.hints {
			t.Errorf("%s: %v, hints %q, want %s", c.args, err, hint.All(err), c.hints)
		}
	}
}

// What is right is still taken.
func TestCompletionKnowsFourShells(t *testing.T) {
	for _, shell := range []string{"", "bash", "zsh", "fish", "powershell"} {
		var out strings.Builder
		cmd := remoteLike(&out)
		cmd.SetArgs(strings.Fields("completion " + shell))
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "remote") {
			t.Errorf("%s: %v, %d bytes", shell, err, out.Len())
		}
	}
}

// A program that publishes nothing is not told of its port.
func TestNumberOfACommandWithoutALocalServiceIsNoPort(t *testing.T) {
	cmd := cli.Root(&cobra.Command{Use: "relay", Run: func(*cobra.Command, []string) {}})
	cmd.SetOut(io.Discard)
	cmd.SetArgs([]string{"-443"})
	if got := strings.Join(hint.All(cmd.Execute()), "; "); got != "see relay --help" {
		t.Errorf("hints %q", got)
	}
}

// A command is found by its name wherever it stands, and by other words for it.
func TestCommandIsNamedThatStandsElsewhere(t *testing.T) {
	for args, want := range map[string]string{
		"kick": "did you mean relay remotes kick?", "unban": "did you mean relay names unban or relay remotes unban?",
		"stat": "did you mean relay status?", "names ls": "did you mean relay names list?", "names bam": "did you mean relay names ban?",
		"names drain": "the commands are ban, list, unban", "--n x": "see relay --help", "--l x": "see relay --help",
	} {
		root := cli.Root(&cobra.Command{Use: "relay", Args: cli.NoArgs(), Run: func(*cobra.Command, []string) {}})
		root.Flags().Int("n", 0, "")
		root.Flags().StringToString("l", nil, "")
		leaf := func(name string) *cobra.Command {
			return &cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}}
		}
		names := &cobra.Command{Use: "names", Args: cli.NoArgs(), Run: func(*cobra.Command, []string) {}}
		names.AddCommand(leaf("list"), leaf("ban"), leaf("unban"))
		remotes := &cobra.Command{Use: "remotes", Args: cli.NoArgs(), Run: func(*cobra.Command, []string) {}}
		remotes.AddCommand(leaf("kick"), leaf("unban"))
		root.AddCommand(names, remotes, leaf("status"))
		root.SetOut(io.Discard)
		root.SetArgs(strings.Fields(args))
		err := root.Execute()
		if hints := hint.All(err); len(hints) == 0 || hints[0] != want {
			t.Errorf("%s: hints %q, want %s", args, hints, want)
		}
		if err != nil && strings.Contains(err.Error(), "strconv") {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// What is an argument is named as one.
func TestFlagThatIsAnArgumentIsNamed(t *testing.T) {
	root := cli.Root(&cobra.Command{Use: "remote", Run: func(*cobra.Command, []string) {}})
	for _, use := range []string{"release NAME", "share [NAME[:PORT][/PATH]]"} {
		root.AddCommand(&cobra.Command{Use: use, Args: cli.Args("NAME"), Run: func(*cobra.Command, []string) {}})
	}
	root.SetOut(io.Discard)
	for _, command := range []string{"release", "share"} {
		root.SetArgs([]string{command, "--domain", "xyz.relay.net"})
		if got, want := strings.Join(hint.All(root.Execute()), "; "), fmt.Sprintf("did you mean remote %[1]s NAME?; see remote %[1]s --help", command); got != want {
			t.Errorf("hints %q, want %q", got, want)
		}
	}
}

// A command that is none is what is told, and not that it has none of the flags behind it.
func TestMistakenCommandGoesBeforeItsFlags(t *testing.T) {
	for _, c := range []struct{ args, message, hints string }{
		{"names –config relay.yaml", `"–config" begins with a long dash`, "see relay names --help"},
		{"names shwo a.relay.net --config relay.yaml", `unexpected argument "shwo"`, "did you mean relay names show?; see relay names --help"},
		{"names zzzz --config relay.yaml", `unexpected argument "zzzz"`, "the commands are show; see relay names --help"},
		{"names show --confg relay.yaml", "unknown flag: --confg", "did you mean --config?; see relay names show --help"},
		{"names --config relay.yaml", "unknown flag: --config", "see relay names --help"},
	} {
		root := cli.Root(&cobra.Command{Use: "relay", Run: func(*cobra.Command, []string) {}})
		group := &cobra.Command{Use: "names", Args: cli.NoArgs(), Run: func(*cobra.Command, []string) {}}
		show := &cobra.Command{Use: "show NAME", Args: cli.Args("NAME"), Run: func(*cobra.Command, []string) {}}
		show.Flags().String("config", "", "")
		group.AddCommand(show)
		root.AddCommand(group)
		root.SetOut(io.Discard)
		root.SetArgs(strings.Fields(c.args))
		err := root.Execute()
		if got := strings.Join(hint.All(err), "; "); err == nil || err.Error() != c.message || got != c.hints {
			t.Errorf("%s: %v, hints %q, want %q", c.args, err, got, c.hints)
		}
	}
}

// What a program has not, or calls otherwise, is named.
func TestFlagsOfTheOtherProgram(t *testing.T) {
	for _, c := range []struct{ has, arg, hints string }{
		{"listen", "--port=443", "did you mean --listen?; see x --help"},
		{"listen", "--local=443", "see x --help"},
		{"state-dir", "--config=remote.yaml", "this command reads no file of settings: --state-dir DIR says what state_dir says there; see x --help"},
	} {
		cmd := cli.Root(&cobra.Command{Use: "x", Run: func(*cobra.Command, []string) {}})
		cmd.Flags().String(c.has, "", "")
		cmd.SetOut(io.Discard)
		cmd.SetArgs([]string{c.arg})
		if got := strings.Join(hint.All(cmd.Execute()), "; "); got != c.hints {
			t.Errorf("%s: hints %q, want %q", c.arg, got, c.hints)
		}
	}
}
