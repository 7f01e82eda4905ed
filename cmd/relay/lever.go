package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay/operator"
)

// levers are the commands for a relay that runs: clients of its API, see package
// operator.
func levers() []*cobra.Command {
	return []*cobra.Command{
		statusCommand(),
		namesCommand(),
		remotesCommand(),
		identitiesCommand(),
		addressesCommand(),
		tokenCommand(),
		backupCommand(),
		drainCommand(),
		configCommand(),
		auditCommand(),
	}
}

// A lever is one such command while it runs.
type lever struct {
	*cobra.Command
	args     []string
	client   *operator.Client
	stateDir string
	path     string // of the socket
	json     bool   // the answer is shown as JSON, one object a line
}

// asLever makes a command one that asks the running relay, and then does do. The
// command's exit codes are those of docs/running-a-relay.md.
func asLever(c *cobra.Command, do func(*lever) error) *cobra.Command {
	config.RelayStateFlags(c.Flags())
	asJSON := c.Flags().Bool("json", false, "show the answer as JSON, one object a line")
	if c.Args == nil {
		c.Args = cli.NoArgs()
	}
	c.Long = strings.TrimSpace(c.Long+"\n\n"+"It asks the relay that runs with this --config, or on this --state-dir.") +
		"\n\nExit codes: 0 done, 1 the relay cannot be reached or has failed, 2 wrong usage,\n3 refused, or there is no such thing."
	c.RunE = func(c *cobra.Command, args []string) error {
		dir, err := config.RelayStateDir(c.Flags())
		if err != nil {
			return cli.Usage(err)
		}
		path := operator.SocketPath(dir)
		l := &lever{Command: c, args: args, client: operator.NewClient(path), stateDir: dir, path: path, json: *asJSON}
		return l.explain(do(l))
	}
	return c
}

// group is a command that is nothing but the name before others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cli.NoArgs()}
	var names []string
	for _, sub := range commands {
		names = append(names, sub.Name())
		c.AddCommand(sub)
	}
	c.Example = commands[0].Example
	c.RunE = func(c *cobra.Command, _ []string) error {
		err := fmt.Errorf("%s: one of %s is missing", use, strings.Join(names, ", "))
		return cli.Usage(hint.Help.Error(err, "COMMAND", c.CommandPath()))
	}
	return c
}

// explain gives an error of the client its exit code and hints.
func (l *lever) explain(err error) error {
	var answered *operator.Error
	var usage *cli.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &usage): // it was never asked
		return err
	case errors.As(err, &answered):
		switch status := answered.Status; {
		case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge:
			return cli.Usage(err)
		case status < http.StatusInternalServerError:
			return &cli.Error{Code: cli.ExitRefused, Err: err}
		}
		return err
	}
	failed := fmt.Errorf("cannot reach the relay at %s: %w", l.path, err)
	if errors.Is(err, os.ErrPermission) {
		return hint.NotYourRelay.Error(failed)
	}
	return hint.NoRelayHere.Error(failed)
}

// show writes v as one line of JSON where that is asked for, and else calls people.
func (l *lever) show(v any, people func(io.Writer)) error {
	out := l.OutOrStdout()
	if !l.json {
		people(out)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}

// reason adds the flag that every lever has which changes something.
func reason(c *cobra.Command) *string {
	return c.Flags().String("reason", "", "`TEXT` for the audit log, and for whoever it concerns")
}
