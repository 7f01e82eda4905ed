package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/plain"
	"keystay/remote"
	"keystay/remote/relays"
)

// relaysCommand ranks the relays of a published list.
func relaysCommand() *cobra.Command {
	var asJSON, take bool
	cmd := &cobra.Command{
		Use:   "relays [LIST]",
		Short: "Rank the relays of a published list, as seen from this device",
		Long: `Fetches a list of relays from an https URL or reads it from a file, checks who has signed
it, and asks each relay what it says of itself, all at once: whether it is reached, what
it gives to whom, and how far away it is. The best one is the first. No relay learns
which device asks; the list's server and the relays see an address that does. It takes
some seconds.

With --take it keeps the best one for --relay auto, in the place of the one that was
taken before. That one then learns which device this is. Names stay with their relay:
what changes with another one is said.

Exit codes: 0 a relay can be taken, 1 none, or the list is not there or not to be trusted,
2 wrong usage.`,
		Example: `  remote relays https://lists.example/relays.json
  remote relays relays.json --relay-list-key ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik= --json
  remote relays https://lists.example/relays.json --take`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 { // the list is a setting, then
				return nil
			}
			return cli.Args("the list")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.LoadRelays(c.Flags(), strings.Join(args, ""))
			if err != nil {
				return cli.Usage(err)
			}
			return rankRelays(c, cfg, asJSON, take)
		},
	}
	config.RelaysFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	cmd.Flags().BoolVar(&take, "take", false, "keep the best one for --relay auto, in the place of the one that was taken before")
	return cmd
}

// rankRelays ranks the relays of the list, shows them, and with take keeps the best one.
func rankRelays(c *cobra.Command, cfg *config.Remote, asJSON, take bool) error {
	useDNS(cfg.DNS)
	chooser, err := newChooser(cfg)
	if err != nil {
		return cli.Usage(err)
	}
	chooser.Need.KeyName = take // which is what --relay auto wants first
	drain, _, stop := cli.Signals(c.Context())
	defer stop()
	look, err := chooser.Look(drain)
	if err != nil {
		return err
	}
	before, err := chooser.Keep.Taken()
	if err != nil {
		return err
	}
	shown := newRanking(look, cfg.RelayListKeys, before)
	if asJSON {
		err = cli.WriteJSON(c.OutOrStdout(), shown)
	} else {
		shown.write(c.OutOrStdout())
	}
	if err != nil || !take {
		return errors.Join(err, shown.none())
	}
	taken, err := chooser.Take(drain, look, true)
	if err == nil {
		tellTaken(c.ErrOrStderr(), cfg.StateDir, before, taken)
	}
	return err
}

// A ranking is what came of a list, as --json shows it. Fields are added, never changed.
type ranking struct {
	Name    string        `json:"name"`
	Serial  uint64        `json:"serial"`
	Expires time.Time     `json:"expires"`
	Key     string        `json:"key"`     // by which it is signed
	Trusted string        `json:"trusted"` // why: "given", "kept", or "first" where nobody has said that it is
	Relays  []rankedRelay `json:"relays"`  // the best one first
}

// A rankedRelay is one of the list.
type rankedRelay struct {
	Relay         string   `json:"relay"`
	Operator      string   `json:"operator,omitempty"`
	Region        string   `json:"region,omitempty"`
	Reached       bool     `json:"reached"`
	Fits          bool     `json:"fits"`            // it can be taken
	Why           string   `json:"why,omitempty"`   // it does not, or was not reached
	Hints         []string `json:"hints,omitempty"` // what to do where it was not reached
	RoundTrip     float64  `json:"round_trip_ms,omitempty"`
	Policy        string   `json:"policy,omitempty"`
	KeyNames      string   `json:"key_names,omitempty"`
	CustomDomains bool     `json:"custom_domains,omitempty"`
	TCPPorts      string   `json:"tcp_ports,omitempty"`
	Version       string   `json:"version,omitempty"`
	Taken         bool     `json:"taken,omitempty"` // it is the one that --relay auto has taken
}

// newRanking returns what a look has shown. Given are the keys that the owner gave.
func newRanking(look *relays.Look, given []string, taken *relays.Taken) *ranking {
	r := &ranking{Name: look.List.Name, Serial: look.List.Serial, Expires: look.List.Expires, Key: look.Seen.Key, Trusted: "kept"}
	switch {
	case len(given) > 0:
		r.Trusted = "given"
	case look.First:
		r.Trusted = "first"
	}
	for i := range look.Ranked {
		one := &look.Ranked[i]
		shown := rankedRelay{Relay: one.Address, Operator: one.Operator, Region: one.Region, Reached: one.Err == nil, Fits: one.Fits(), Why: one.Lacks,
			RoundTrip: float64(one.About.RoundTrip.Microseconds()) / 1000, Policy: one.About.Policy, KeyNames: one.About.KeyNames,
			CustomDomains: one.About.CustomDomains, TCPPorts: one.About.TCPPorts, Version: one.About.Version,
			Taken: taken != nil && taken.Relay == one.Address}
		if one.Err != nil {
			shown.Why, shown.Hints = plain.Text(one.Err.Error()), hint.All(one.Err)
		}
		r.Relays = append(r.Relays, shown)
	}
	return r
}

// none is the error of a ranking of which no relay can be taken.
func (r *ranking) none() error {
	if len(r.Relays) > 0 && r.Relays[0].Fits {
		return nil
	}
	return hint.ListNoFit.Error(fmt.Errorf("no relay of %q can be taken from here", plain.Text(r.Name)))
}

// write shows the ranking to people: a line for each relay, and why a relay is none to
// take below it.
func (r *ranking) write(w io.Writer) {
	trusted := map[string]string{
		"given": "a key that was given",
		"kept":  "the key that was kept of it before",
		"first": "a key that nobody has said is the right one: compare it with what its publisher says, and give it as --relay-list-key",
	}
	fmt.Fprintf(w, "%s, number %d, until %s\nsigned by %s, %s\n\n", plain.Text(r.Name), r.Serial, r.Expires.UTC().Format(time.DateOnly), r.Key, trusted[r.Trusted])
	rows := [][]string{{"RELAY", "ROUND TRIP", "NEW NAMES", "OWN DOMAINS", "TCP PORTS", "REGION", "OPERATOR"}}
	for _, one := range r.Relays {
		row := []string{one.Relay, "-", "-", "-", "-", one.Region, one.Operator}
		if one.Reached {
			row[1], row[2] = fmt.Sprintf("%.1f ms", one.RoundTrip), one.Policy
			row[3] = map[bool]string{true: "yes", false: "no"}[one.CustomDomains]
			if one.TCPPorts != "" {
				row[4] = one.TCPPorts
			}
		}
		rows = append(rows, row)
	}
	wide := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = plain.Text(row[i])
			wide[i] = max(wide[i], utf8.RuneCountInString(row[i]))
		}
	}
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", wide[i]+2-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
		if n == 0 {
			continue
		}
		one := r.Relays[n-1]
		if one.Taken {
			fmt.Fprintln(w, "  --relay auto has taken it")
		}
		if one.Why != "" {
			fmt.Fprintln(w, "  "+plain.Text(one.Why))
		}
		for _, h := range one.Hints {
			fmt.Fprintln(w, "  hint: "+plain.Text(h))
		}
	}
}

// tellTaken says which relay was taken, why, and what that changes.
func tellTaken(w io.Writer, stateDir string, before *relays.Taken, now relays.Taken) {
	line := func(format string, args ...any) { fmt.Fprintln(w, plain.Text(fmt.Sprintf(format, args...))) }
	if before != nil && before.Relay == now.Relay {
		line("%s stays: %s", now.Relay, now.Why)
		return
	}
	line("%s is taken: %s", now.Relay, now.Why)
	info, err := remote.PeekIdentity(stateDir)
	if before == nil || err != nil {
		return
	}
	line("a remote that runs with --relay auto goes on with %s until it is started anew; then:", before.Relay)
	for _, n := range info.Names {
		switch {
		case len(n.Relays) != 1 || n.Relays[0] != before.Relay:
		case n.FromKey:
			line("  %s is another name, below %s; links to the old one end", n.Name, now.Relay)
		case hostname.IsBelow(n.Name, relayHost(before.Relay)):
			line("  %s can be served by %s alone: choose another name", n.Name, before.Relay)
		default:
			line("  %s needs its DNS records changed: remote dns %s --relay %s", n.Name, n.Name, now.Relay)
		}
	}
}

// relayHost is a relay without its port.
func relayHost(relay string) string { h, _ := relayAddress(relay); return h }
