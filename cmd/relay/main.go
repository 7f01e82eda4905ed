// The relay is the public end of keystay: it reads the server name of each
// visitor's ClientHello and passes the bytes, still encrypted, to the remote
// that holds the name.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
)

func main() { os.Exit(cli.Main(command())) }

func command() *cobra.Command {
	var takeover bool
	cmd := &cobra.Command{
		Use:   "relay --config FILE",
		Short: "Pass visitors of public names on to the devices that hold them, unopened",
		Long: `The relay reads the server name in each visitor's ClientHello and passes the
bytes, still encrypted, to the remote that holds the name. It needs one public
address and a wildcard DNS record, see deploy/dns-wildcard.md.`,
		Example: `  relay --config relay.yaml
  relay --config relay.yaml --log-level debug
  relay --domain relay.net --state-dir ./state
  relay --config relay.yaml --takeover`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, settings, warnings, err := config.ReadRelay(c.Flags())
			if err != nil {
				return cli.Usage(err)
			}
			load := func() (*config.Relay, []config.Warning, error) { return config.LoadRelay(c.Flags()) }
			return run(c.Context(), &process{cfg: cfg, settings: settings, load: load, limits: cfg.Limits}, warnings, takeover)
		},
	}
	config.RelayFlags(cmd.Flags())
	cmd.Flags().BoolVar(&takeover, "takeover", false, "take over from the relay that runs on the same state_dir, without a break; SIGUSR2 makes it start one that does")
	cmd.AddCommand(levers()...)
	return cli.Root(cmd)
}
