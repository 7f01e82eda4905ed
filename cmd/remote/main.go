// The remote publishes a local service of this device under a public HTTPS
// name. The key and the certificate stay on the device.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/unit"
	_ "keystay/internal/xconnect" // visitors open WebSockets over HTTP/2
)

func main() {
	os.Exit(unit.Run(unitName, append([]int{cli.ExitUsage}, finalCodes...), func(ctx context.Context) int {
		cmd := command()
		cmd.SetContext(ctx)
		return cli.Main(cmd)
	}))
}

func command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remote [SERVICE]",
		Short: "Publish a local service under a public HTTPS name; key and certificate stay on this device",
		Long: `The remote dials a relay, claims a public name, obtains the certificate for it by
itself, and hands the visitors' requests to a local service. It opens no port,
but with --listen, and needs no privilege. The relay passes encrypted bytes on; it never has the key.`,
		Example: `  remote --domain xyz.relay.net --local :3000
  remote 3000 --relay relay.net
  remote 3000
  remote --domain app.team.relay.net --relay relay.net --local http://127.0.0.1:8080
  remote --name notes --relay relay.net ./public
  remote --tcp 22 --relay relay.net
  remote --config remote.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			p := &process{file: config.RemoteFile(c.Flags()), out: os.Stdout}
			p.load = func() (*config.Remote, []config.Warning, error) { return loaded(config.LoadRemote(c.Flags(), args)) }
			var warnings []config.Warning
			var err error
			if p.cfg, warnings, err = p.load(); err != nil {
				return cli.Usage(err)
			}
			return run(c.Context(), p, warnings)
		},
	}
	cmd.Args = cobra.ArbitraryArgs // config says what is wrong with them
	config.RemoteFlags(cmd.Flags())
	cmd.AddCommand(checkCommand(), passwordCommand(), shareCommand(), releaseCommand(), loginCommand(), dnsCommand(), relaysCommand(), verifyCommand(), connectCommand(), doctorCommand(), identityCommand(), statusCommand(), stopCommand(), reloadCommand(), terminalGuardCommand(), serviceCommand(), dockerCommand())
	return cli.Root(cmd)
}
