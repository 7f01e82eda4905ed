package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/socket"
	"keystay/remote"
)

// checkCommand looks at the configuration alone.
func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Look for mistakes in a configuration",
		Long: `Reads the configuration and the files that it names, as a start would, and says each
mistake with its line. It warns of what a start warns of: a certificate that visitors
will refuse, and a relay that is missing. It notes where the system makes the first
answer after a pause slow. Nothing is dialled and nothing is written.

Exit codes: 0 there is no mistake, 2 there are some.`,
		Example: `  remote check --config remote.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				if l, err := config.ParseLocal(args[0]); err == nil && l.Kind != config.LocalFolder {
					return cli.Usage(hint.MeantCommand.Error(fmt.Errorf("unexpected argument %q", args[0]), "COMMAND", c.CommandPath()+" --local "+args[0]))
				}
			}
			return cli.NoArgs()(c, args)
		},
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, warnings, err := config.LoadRemote(c.Flags(), nil)
			if err != nil {
				return cli.Usage(err)
			}
			if err := trial(config.RemoteFile(c.Flags()), cfg); err != nil {
				return cli.Usage(err)
			}
			more, err := certWarnings(cfg)
			if err != nil {
				return cli.Usage(err)
			}
			for _, w := range slices.Concat(warnings, more, relayWarnings(cfg)) {
				fmt.Fprintln(c.ErrOrStderr(), "warning: "+w.String())
			}
			if last, known := socket.WindowsLast(); known && !last {
				fmt.Fprintln(c.ErrOrStderr(), "note: "+config.Warning{Message: "after a pause this system sends little at once", Hints: hint.SlowAfterPause.Do}.String())
			}
			return summary(c.OutOrStdout(), cfg)
		},
	}
	config.RemoteFlags(cmd.Flags())
	return cmd
}

// trial makes what a configuration says, but dials nothing and writes nothing. An
// error is a mistake in it, with its line where it is in file, which may be empty.
func trial(file string, cfg *config.Remote) error {
	err := tryAll(cfg)
	var w *wrongKey
	if errors.As(err, &w) {
		return cmp.Or(config.Mistake(file, w.key, w.Error(), hint.All(err)...), err)
	}
	return err
}

// tryAll makes what a configuration says for trial.
func tryAll(cfg *config.Remote) error {
	log := slog.New(slog.DiscardHandler)
	for i, s := range cfg.Services {
		_, err := certFiles(cfg, s, log)
		var wrong *acme.FileError
		switch {
		case errors.As(err, &wrong) && wrong.Path == s.Key:
			return within(fmt.Sprintf("services[%d].key", i), err)
		case errors.As(err, &wrong):
			return within(fmt.Sprintf("services[%d].cert", i), err)
		case err != nil:
			return err
		}
	}
	if _, err := deviceConfig(cfg, log); err != nil {
		return err
	}
	return newMaker(cfg, log).trial(cfg.Services)
}

// relayWarnings warns of names that a start would find no relay for: a relay is neither
// given nor remembered, and there is no name to look for one by.
func relayWarnings(cfg *config.Remote) (all []config.Warning) {
	info, err := remote.PeekIdentity(cfg.StateDir)
	if len(cfg.Relays) > 0 || cfg.RelayAuto || err != nil && !errors.Is(err, remote.ErrNoIdentity) || len(info.Names) > 0 {
		return nil
	}
	for i, s := range cfg.Services {
		if len(s.Relays) == 0 && len(s.Words) > 0 {
			key := fmt.Sprintf("services[%d]", i)
			all = append(all, config.Warning{Key: key, Message: key + ": no relay given, and none is remembered",
				Hints: []string{"name the relay in the file, as in relay: relay.net", "or a name below one, as in domain: xyz.relay.net"}})
		}
	}
	return all
}

// summary says what would be published.
func summary(w io.Writer, cfg *config.Remote) error {
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	names := 0
	for _, s := range cfg.Services {
		for _, n := range namesOf(s) {
			names++
			if _, err := fmt.Fprintln(w, plain.Text(n.shown()+" -> "+shownLocal(s))); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "ok: %s, %s\n", count(names, "name"), count(len(cfg.Services), "service"))
	return err
}

// A wrongKey is a mistake in what a key of the configuration names.
type wrongKey struct {
	key string // as in "services[0].cert"
	err error
}

// Error implements error.
func (e *wrongKey) Error() string { return e.err.Error() }

// Unwrap returns the mistake alone.
func (e *wrongKey) Unwrap() error { return e.err }

// within says at which key something is wrong, in front of the key that err has.
func within(key string, err error) error {
	var w *wrongKey
	switch {
	case err == nil:
		return nil
	case errors.As(err, &w):
		return &wrongKey{key + "." + w.key, w.err}
	}
	return &wrongKey{key, err}
}
