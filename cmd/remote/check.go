package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/plain"
)

// checkCommand looks at the configuration alone.
func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Look for mistakes in a configuration",
		Long: `Reads the configuration and the files that it names, as a start would, and says each
mistake with its line. Nothing is dialled and nothing is written.

Exit codes: 0 there is no mistake, 2 there are some.`,
		Example: `  remote check --config remote.yaml`,
		Args:    cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, warnings, err := config.LoadRemote(c.Flags(), nil)
			if err != nil {
				return cli.Usage(err)
			}
			if err := trial(cfg); err != nil {
				return cli.Usage(err)
			}
			for _, w := range warnings {
				fmt.Fprintln(c.ErrOrStderr(), "warning: "+w.String())
			}
			return summary(c.OutOrStdout(), cfg)
		},
	}
	config.RemoteFlags(cmd.Flags())
	return cmd
}

// trial makes what a configuration says, but dials nothing and writes nothing. An
// error is a mistake in it.
func trial(cfg *config.Remote) error {
	log := slog.New(slog.DiscardHandler)
	for _, s := range cfg.Services {
		if _, err := certFiles(cfg, s, log); err != nil {
			return err
		}
	}
	if _, err := deviceConfig(cfg, log); err != nil {
		return err
	}
	return newMaker(cfg, log).trial(cfg.Services)
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
