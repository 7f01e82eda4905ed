// The relay is the public end of keystay: it reads the server name of each
// visitor's ClientHello and passes the bytes, still encrypted, to the remote
// that holds the name.
package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
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
	root := cli.Root(cmd)
	explain := root.FlagErrorFunc()
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return meantKey(c, err, explain(c, err)) })
	return root
}

// meantKey adds to what is said of an unknown flag that it is a key of the file, where it
// is one as its flag would be written: with its maps, or without.
func meantKey(c *cobra.Command, err, said error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || c.Flags().Lookup("config") == nil {
		return said
	}
	var near []string
	for _, k := range config.RelayKeys() {
		if k.Flag != "" || strings.Contains(k.Name, "[]") {
			continue
		}
		whole := strings.NewReplacer(".", "-", "_", "-").Replace(k.Name)
		switch name := unknown.GetSpecifiedName(); {
		case name == whole || name == k.Name:
			return hint.MeantKey.Error(said, "KEY", k.Name)
		case name != "" && strings.HasSuffix(whole, "-"+name):
			near = append(near, k.Name)
		}
	}
	if len(near) == 1 {
		return hint.MeantKey.Error(said, "KEY", near[0])
	}
	return said
}
