package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/remote"
)

// lookUpTimeout is how long DNS may take for all questions of remote dns.
const lookUpTimeout = 30 * time.Second

// dnsCommand says which records a domain needs.
func dnsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dns NAME",
		Short: "Show the DNS records that a domain of one's own needs, and which are there",
		Long: `Shows exactly the DNS records that make a relay give a domain of one's own to this
device, and that lead its visitors there, and asks DNS which of them are there. Shows
also the CAA record that keeps everybody else, and so the relay's operator, from having
a certificate for the domain; nothing else depends on that one. With --listen, as the
remote has it, also the records that lead visitors straight to this device; those of
private addresses are for the DNS of its own network alone. The device's key is made if
there is none yet. No remote has to run, and no relay is dialled.

Exit codes: 0 all is there, 1 something is missing or DNS does not answer, 2 wrong
usage.`,
		Example: `  remote dns app.example.com --relay relay.net
  remote dns app.example.com --relay relay.net --dns 9.9.9.9 --json
  remote dns xyz.relay.net --relay relay.net --listen :443`,
		Args: cli.Args("the domain"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.LoadDNS(c.Flags(), args[0])
			if err != nil {
				return cli.Usage(err)
			}
			drain, _, stop := cli.Signals(c.Context())
			defer stop()
			r, err := recordsOf(drain, c.ErrOrStderr(), cfg)
			if err != nil {
				return err
			}
			if asJSON {
				_ = cli.WriteJSON(c.OutOrStdout(), r)
			} else {
				r.write(c.OutOrStdout())
			}
			return r.missing()
		},
	}
	config.DNSFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// recordsOf looks up the records of a domain. What the owner should know of the state
// directory goes to warnings.
func recordsOf(ctx context.Context, warnings io.Writer, cfg *config.Remote) (*records, error) {
	var dns domainproof.Resolver
	if cfg.DNS != "" {
		server, err := domainproof.ParseServer(cfg.DNS)
		if err != nil {
			return nil, cli.Usage(err)
		}
		dns.Servers = append(dns.Servers, server)
	}
	identity, strange, err := remote.Identity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	for _, s := range strange {
		cli.Print(warnings, "remote", s)
	}
	var relays []string
	for _, relay := range cfg.Relays {
		host, _, _ := strings.Cut(relay, ":")
		relays = append(relays, host)
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	accounts, err := acme.Accounts(remote.ACMEDir(cfg.StateDir))
	if err != nil {
		return nil, err
	}
	r, err := lookUp(ctx, dns, cfg.Domain, identity, relays, accounts, cfg.Listen)
	if err != nil {
		return nil, dnsError(err)
	}
	return r, nil
}

// dnsError gives what a DNS server did not answer its hints.
func dnsError(err error) error {
	var fails *domainproof.Error
	switch {
	case errors.Is(err, domainproof.ErrNoServers):
		return hint.NoDNSServers.Error(err)
	case errors.As(err, &fails):
		if fails.Server != "" {
			err = fmt.Errorf("%w (asked: %s)", err, fails.Server)
		}
		return hint.DNSFails.Error(err)
	}
	return err
}

// missing is the error of records of which not all are there.
func (r *records) missing() error {
	var list []string
	if !r.Proven {
		list = append(list, "DNS does not say that it is this device's")
	}
	if !r.Reached {
		list = append(list, "visitors do not all get to "+strings.Join(r.Relays, " or "))
	}
	if r.CAA.Forbidden {
		list = append(list, "a CAA record keeps this device from having a certificate")
	}
	if list == nil {
		return nil
	}
	return hint.RecordsMissing.Error(fmt.Errorf("%s is not ready: %s", r.Domain, strings.Join(list, "; ")))
}

// write shows the records to a person.
func (r *records) write(w io.Writer) {
	fmt.Fprintf(w, "%s at %s, for the device %s\n", r.Domain, strings.Join(r.Relays, " and "), r.Identity)
	if r.isRelays() {
		r.writeHome(w)
		return
	}
	proof, visitors := "This says that the domain is this device's", "These lead visitors to the relay"
	if slices.ContainsFunc(r.Records, func(rec record) bool { return rec.Type == "CNAME" }) {
		proof, visitors = "One of these says that the domain is this device's", visitors+", or the CNAME above does"
	}
	r.part(w, forProof, proof, r.Proven)
	r.part(w, forVisitors, visitors, r.Reached)
	if r.Proven && r.Authenticated {
		fmt.Fprintf(w, "\nThe DNS server has checked the signatures (DNSSEC) of the proof.\n")
	}
	if r.homePort != "" {
		r.writeHome(w)
	}
	r.writeCAA(w)
	if len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, plain.Text(n))
	}
}

// part shows the records for one purpose.
func (r *records) part(w io.Writer, purpose, title string, ok bool) {
	state := "missing"
	if ok {
		state = "ok"
	}
	fmt.Fprintf(w, "\n%s: %s\n", title, state)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, rec := range r.Records {
		if rec.For != purpose {
			continue
		}
		there := "-"
		if rec.There {
			there = "there"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", there, rec.Name, rec.Type, rec.Value)
	}
	_ = t.Flush() // as with any print
}
