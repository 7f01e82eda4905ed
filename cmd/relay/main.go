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
			p := &process{file: config.RelayFile(c.Flags())}
			p.load = func() (*config.Relay, []config.Setting, []config.Warning, error) { return config.ReadRelay(c.Flags()) }
			var warnings []config.Warning
			var err error
			if p.cfg, p.settings, warnings, err = p.load(); err != nil {
				return cli.Usage(err)
			}
			return run(c.Context(), p, warnings, takeover)
		},
	}
	config.RelayFlags(cmd.Flags())
	cmd.Flags().BoolVar(&takeover, "takeover", false, "take over from the relay that runs on the same state_dir, without a break; SIGUSR2 makes it start one that does")
	cmd.AddCommand(checkCommand(), initCommand(), listCommand(), clusterCommand())
	cmd.AddCommand(levers()...)
	return cli.Root(cmd)
}
