package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

// releaseCommand gives a name back.
func releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Give a name back to its relay",
		Long: `Gives a name back that belongs to this device: it dials the relay that gave the
name, proves the device's key and says so. A remote that serves the name ends.
For a while the relay keeps the name for this device, since its certificate is
still valid; then anybody may claim it.

Exit codes: 0 the name is given back, 1 the relay was not reached or is too old,
2 wrong usage, 3 the relay says no, as where the name is not this device's.`,
		Example: `  remote release xyz.relay.net
  remote release app.team.relay.net --relay relay.net --state-dir ./state`,
		Args: cli.Args("the name to give back"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.LoadRelease(c.Flags(), args[0])
			if err != nil {
				return cli.Usage(err)
			}
			rc, err := releaseConfig(cfg)
			if err != nil {
				return cli.Usage(err)
			}
			useDNS(cfg.DNS)
			drain, _, stop := cli.Signals(c.Context())
			defer stop()
			relays, err := remote.Release(drain, rc)
			if len(relays) > 0 {
				fmt.Fprintf(os.Stdout, "%s is given back to %s\n", cfg.Domain, strings.Join(relays, " and "))
			}
			return asked(releaseError(cfg, err), cfg.DNS)
		},
	}
	config.ReleaseFlags(cmd.Flags())
	return cmd
}

func releaseConfig(cfg *config.Remote) (rc remote.Config, err error) {
	rc = remote.Config{
		Domain:         cfg.Domain,
		Relays:         cfg.Relays,
		RelayAddresses: cfg.RelayAddresses,
		Transport:      remote.Transport(cfg.Transport),
		StateDir:       cfg.StateDir,
		Version:        cli.Version(),
	}
	if rc.Proxy, err = proxy(string(cfg.Proxy)); err != nil {
		return rc, err
	}
	rc.RelayRoots, err = cli.Roots("--relay-root", cfg.RelayRoot)
	return rc, err
}

// releaseError gives what Release returned its exit code and hints.
func releaseError(cfg *config.Remote, err error) error {
	var not *framing.NotReleased
	var refusal *framing.Refusal
	switch {
	case errors.Is(err, remote.ErrNoIdentity):
		return cli.Usage(hint.NoIdentity.Error(err))
	case errors.As(err, &not) && !not.Later:
		return &cli.Error{Code: cli.ExitRefused, Err: hint.NotHeld.Error(err)}
	case errors.As(err, &refusal) && refusal.Permanent():
		return &cli.Error{Code: cli.ExitRefused, Err: refused(refusal)}
	case errors.Is(err, framing.ErrNoRelease):
		return hint.NoRelease.Error(err)
	case errors.Is(err, remote.ErrNoRelay):
		return listenError(cfg, err)
	}
	return err
}
