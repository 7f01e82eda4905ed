package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

const (
	// doctorTimeout bounds all of remote doctor, and stepTimeout each step but the link,
	// which may try several relays and transports.
	doctorTimeout, stepTimeout, linkTimeout = time.Minute, 15 * time.Second, 35 * time.Second
	// maxExamined is how many names are looked at, and atOnce how many of them at a time.
	maxExamined, atOnce = 32, 4
)

// doctorCommand looks at everything between this device and its visitors.
func doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [SERVICE]",
		Short: "Look at everything between this device and its visitors",
		Long: `Looks at each thing that a name needs to be reached, a line for each: ok, or what is
wrong with what to do, or why it was not looked at. It takes what a start takes: the
same arguments, flags, variables and file. It claims no name, orders no certificate and
writes nothing, and so may be run beside a remote that serves the names, as another user
too. It takes a minute at most.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage or configuration.`,
		Example: `  remote doctor 3000 --relay relay.net
  remote doctor --config remote.yaml --json`,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, _, err := loaded(config.LoadRemote(c.Flags(), args))
			if err == nil {
				err = trial(config.RemoteFile(c.Flags()), cfg)
			}
			if err != nil {
				return cli.Usage(err)
			}
			useDNS(cfg.DNS)
			d, err := newDoctor(cfg)
			if err != nil {
				return cli.Usage(err)
			}
			drain, _, stop := cli.Signals(c.Context())
			defer stop()
			found := d.examine(drain)
			if drain.Err() != nil {
				return drain.Err()
			}
			if asJSON {
				_ = cli.WriteJSON(c.OutOrStdout(), found)
			} else {
				found.Write(c.OutOrStdout())
			}
			if n := found.Wrong(); n > 0 {
				return hint.DoctorFails.Error(fmt.Errorf("%d of %d steps found something wrong", n, len(found.Steps)))
			}
			return nil
		},
	}
	cmd.Args = cobra.ArbitraryArgs // config says what is wrong with them
	config.RemoteFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// A doctor looks at what a configuration leads to.
type doctor struct {
	cfg    *config.Remote
	device remote.DeviceConfig
	senses senses
}

func newDoctor(cfg *config.Remote) (*doctor, error) {
	device, err := deviceConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	d := &doctor{cfg: cfg, device: device}
	d.senses, err = newSenses(cfg, device)
	return d, err
}

// examine goes through all steps. Those that do not need each other run side by side.
func (d *doctor) examine(ctx context.Context) cli.Findings {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	names := d.names()
	reports := d.reports(names)
	var state, services []cli.Finding
	var cas []*visited
	var wg sync.WaitGroup
	wg.Go(func() { state = d.stateDir() })
	wg.Go(func() { services = d.services(ctx, names) })
	wg.Go(func() { cas = d.cas(ctx) })
	for _, r := range reports {
		wg.Go(func() { d.relay(ctx, r) })
	}
	wg.Wait()

	all := slices.Concat([]cli.Finding{d.clock(reports, cas)}, state)
	if err := alarmProgram(d.cfg); err != nil {
		all = append(all, cli.Amiss("alarm", "", fmt.Errorf("the program of --on-intercept-run cannot be run: %w", err)))
	}
	for _, r := range reports {
		all = append(all, r.findings...)
	}
	all = append(all, d.authorities(cas)...)
	all = append(all, d.allNames(ctx, names, reports, caNames(cas))...)
	all = append(all, services...)
	return cli.Found(all)
}

// allNames looks at the names, some at a time. CAA records have the CAs by the names cas;
// nil is that these are not known.
func (d *doctor) allNames(ctx context.Context, names []*patient, reports []*report, cas []string) (all []cli.Finding) {
	looked := names[:min(len(names), maxExamined)]
	found := make([][]cli.Finding, len(looked))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, n := range looked {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			found[i] = d.name(ctx, n, reportsOf(n, reports), cas)
		})
	}
	wg.Wait()
	for _, f := range found {
		all = append(all, f...)
	}
	if more := len(names) - len(looked); more > 0 {
		all = append(all, cli.NotRun("name", "", "%d names more are not looked at: %d at most are", more, maxExamined))
	}
	return all
}

// A patient is a name that is to be served.
type patient struct {
	name    name
	service config.Service
	outlook remote.Outlook
	err     error // why nothing is known of it
}

// domain is the name itself, or words for it.
func (p *patient) domain() string {
	if p.outlook.Domain != "" {
		return p.outlook.Domain
	}
	return p.name.shown()
}

// names returns the names of the configuration, with what a start would do for them.
func (d *doctor) names() (all []*patient) {
	for _, s := range d.cfg.Services {
		for _, n := range namesOf(s) {
			p := &patient{name: n, service: s}
			p.outlook, p.err = remote.Look(d.device, remote.Name{Domain: n.domain, Word: n.word, Port: n.port, Relays: s.Relays, RelayAddresses: s.RelayAddresses, Service: shownLocal(s)})
			p.err = listenError(d.cfg, p.err)
			all = append(all, p)
		}
	}
	return all
}
