package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/budget"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay/operator"
)

// checkTime bounds all of relay check, and stepTime one look at something outside.
const checkTime, stepTime = 40 * time.Second, 8 * time.Second

func checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at everything that a relay needs, from here",
		Long: `Looks at each thing that a relay needs, a line for each: ok, or !! and what to do, or
-- for what is worth to know or cannot be told from here. The configuration, DNS as
resolvers see it, ports, certificate, CAA records, Public Suffix List, clock, memory,
descriptors, the kernel's settings, the record of names, the other nodes, the control
socket, and your own servers behind static and fallback. It takes the flags and the file of a start. It writes
nothing, and may be run before the first start and beside a relay that runs.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage or configuration.`,
		Example: `  relay check --config relay.yaml
  relay check --config relay.yaml --json | jq '.steps[] | select(.state == "wrong")'`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, _, warnings, err := config.ReadRelay(c.Flags())
			var wrong config.Errors
			if err != nil && !errors.As(err, &wrong) {
				return cli.Usage(err)
			}
			var list []cli.Finding
			for _, e := range wrong {
				at := *e
				at.Hints = nil
				list = append(list, cli.Finding{Step: "configuration", State: cli.FoundWrong, Detail: at.Error(), Hints: e.Hints})
			}
			if len(wrong) == 0 {
				ctx, cancel := context.WithTimeout(c.Context(), checkTime)
				defer cancel()
				list = newChecker(cfg, warnings).all(ctx)
			}
			found := cli.Found(list)
			if asJSON {
				_ = cli.WriteJSON(c.OutOrStdout(), found)
			} else {
				found.Write(c.OutOrStdout())
			}
			n := found.Wrong()
			if n == 0 {
				return nil
			}
			err = hint.CheckFails.Error(fmt.Errorf("%d of %d steps found something wrong", n, len(found.Steps)))
			if len(wrong) > 0 {
				return cli.Usage(err)
			}
			return err
		},
	}
	config.RelayFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// A checker looks at what a configuration needs.
type checker struct {
	cfg      *config.Relay
	warnings []config.Warning
	senses   senses
	running  *operator.Status // of the relay that runs on the state directory, or nil
	ca       directory        // what the CA's directory has said
}

func newChecker(cfg *config.Relay, warnings []config.Warning) *checker {
	return &checker{cfg: cfg, warnings: warnings, senses: newSenses(cfg)}
}

// all looks at everything: what is outside side by side.
func (c *checker) all(ctx context.Context) []cli.Finding {
	control := c.control(ctx)
	var dns, caa, reach, authority, servers []cli.Finding
	var wg sync.WaitGroup
	wg.Go(func() {
		var leads []string
		dns, leads = c.dns(ctx)
		reach = c.reach(ctx, leads)
	})
	wg.Go(func() {
		authority = c.authority(ctx)
		caa = c.caa(ctx)
	})
	wg.Go(func() { servers = append(c.ownServers(ctx), c.siblings(ctx)...) })
	local := slices.Concat(c.state(), c.nodes(), c.ports(), c.tcpPorts())
	host := slices.Concat(c.memory(), c.descriptors(), c.kernel())
	wg.Wait()
	return slices.Concat(c.configuration(), control, local, dns, reach, c.suffix(), authority, caa, c.certificate(), host, servers)
}

// configuration says that it can be used, and what is seldom meant in it.
func (c *checker) configuration() []cli.Finding {
	list := []cli.Finding{cli.Fine("configuration", "", "it can be used")}
	for _, w := range c.warnings {
		list = append(list, cli.Finding{Step: "configuration", About: w.Key, State: cli.FoundNote, Detail: w.Message, Hints: w.Hints})
	}
	return list
}

// control says whether a relay runs, and what it says of itself.
func (c *checker) control(ctx context.Context) []cli.Finding {
	st, err := c.senses.status(ctx)
	path := operator.SocketPath(c.cfg.StateDir)
	switch {
	case isPermission(err):
		return []cli.Finding{cli.Note("control", "", hint.NotYourRelay.Error(fmt.Errorf("who may ask the relay at %s is somebody else", path)))}
	case err != nil:
		return []cli.Finding{cli.NotRun("control", "", "no relay answers at %s: what follows is about a start", path)}
	}
	c.running = st
	list := []cli.Finding{cli.Fine("control", "", "a relay of version %s runs as process %s", st.Version, strconv.Itoa(st.PID))}
	if st.Why != "" {
		list = append(list, cli.Amiss("ready", "", hint.CheckNotReady.Error(errors.New(st.Why))))
	} else if st.Ready {
		list = append(list, cli.Fine("ready", "", "remotes can come"))
	}
	if st.Panics > 0 {
		list = append(list, cli.Note("panics", "", fmt.Errorf("%d mistakes in the program have ended a connection: the log has the first of each kind", st.Panics)))
	}
	return list
}

// memory compares the budget with what there is.
func (c *checker) memory() []cli.Finding {
	there, from := budget.Available()
	if c.cfg.Memory > there {
		return []cli.Finding{cli.Amiss("memory", "", hint.MemoryNotThere.Error(
			fmt.Errorf("memory is %d MiB, and this process may have %d MiB in all (%s)", c.cfg.Memory>>20, there>>20, from)))}
	}
	return []cli.Finding{cli.Fine("memory", "", "%d MiB may be used (%s)", there>>20, from)}
}
