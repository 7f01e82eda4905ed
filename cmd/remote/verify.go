package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/plain"
	"keystay/internal/proxydial"
	"keystay/remote/verify"
)

// verifyCommand says who holds the key of a name.
func verifyCommand() *cobra.Command {
	var asJSON bool
	var root, address, identity string
	cmd := &cobra.Command{
		Use:   "verify NAME",
		Short: "Check from any machine which device holds the key of a public name",
		Long: `Asks a public name, as its visitors do, for the document in which a device signs that
the name and the key of its certificate are its own, and compares them with the
connection. A name made from the key shows which device is the expected one; for any
other name --identity says it. Neither the device nor its state is needed.

Exit codes: 0 the expected device holds the key, 1 that could not be checked, 2 wrong
usage, 4 the key is another one's.`,
		Example: `  remote verify https://xyz.relay.net --identity jmakhxkljw4tl7dchl2l5qpziclggzmn
  remote verify jmakhxkljw4tl7dchl2l5qpziclggzmn.relay.net --json`,
		Args: cli.Args("the name, as in https://xyz.relay.net"),
		RunE: func(c *cobra.Command, args []string) error {
			vc, err := verifyConfig(c, args[0])
			if err != nil {
				return cli.Usage(err)
			}
			if vc.Roots, err = cli.Roots("--root", root); err != nil {
				return cli.Usage(err)
			}
			if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
				return cli.Usage(fmt.Errorf("--address: %q is not HOST:PORT, as in 192.0.2.1:443", address))
			}
			vc.Address, vc.Identity = address, strings.ToLower(identity)
			if identity != "" && !keyname.Is(vc.Identity) {
				return cli.Usage(errors.New("--identity: this is no label, which has 32 characters; remote identity show shows it on the device"))
			}
			drain, _, stop := cli.Signals(c.Context())
			defer stop()
			report := vc.Check(drain)
			if drain.Err() != nil {
				return drain.Err()
			}
			if asJSON {
				_ = cli.WriteJSON(c.OutOrStdout(), report)
			} else {
				showReport(c.OutOrStdout(), report)
			}
			return verdictError(report)
		},
	}
	config.VerifyFlags(cmd.Flags())
	cmd.Flags().StringVar(&root, "root", "", "PEM `FILE` of roots to trust for the name's certificate; by default the system's")
	cmd.Flags().StringVar(&address, "address", "", "dial this `HOST:PORT`, without a proxy; the name is still what is verified")
	cmd.Flags().StringVar(&identity, "identity", "", "the `LABEL` of the expected device, as remote identity show shows it there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// verifyConfig reads what the command shares with others.
func verifyConfig(c *cobra.Command, name string) (*verify.Config, error) {
	cfg, port, err := config.LoadVerify(c.Flags(), name)
	if err != nil {
		return nil, err
	}
	vc := &verify.Config{Name: cfg.Domain, Port: port}
	if cfg.DNS != "" {
		server, err := domainproof.ParseServer(cfg.DNS)
		if err != nil {
			return nil, err
		}
		vc.DNS.Servers = append(vc.DNS.Servers, server)
		useDNS(cfg.DNS)
	}
	if vc.Proxy, err = proxy(string(cfg.Proxy)); err == nil && vc.Proxy == nil {
		vc.Proxy = proxydial.FromEnvironment
	}
	if cfg.DNS != "" {
		vc.Dial = dialBy(vc.Proxy, cfg.DNS)
	}
	return vc, err
}

// showReport shows who holds the key in three lines, and then what else is not as it
// could be, a line for each step.
func showReport(w io.Writer, r *verify.Report) {
	line := func(format string, args ...any) { fmt.Fprintln(w, plain.Text(fmt.Sprintf(format, args...))) }
	if r.CertificateKey == "" {
		line("%s was not reached", r.Name)
	} else {
		line("%s is answered with the certificate key sha256:%s until %s, by %s", r.Name, r.CertificateKey, r.NotAfter.UTC().Format(time.DateOnly), r.Issuer)
	}
	switch {
	case r.Identity == "":
		line("no device has said whose that key is")
	case r.Of(verify.Signature).State != verify.OK:
		line("a document says that it is the device %s, which has not signed it", r.Identity)
	default:
		line("the device %s has signed at %s what its key and name are; %s", r.Identity, r.Time.Format(time.RFC3339), r.Of(verify.Identity).Detail)
	}
	switch r.Verdict {
	case verify.Held:
		line("so the device holds the key, and nobody between you and it could read along on this connection")
	case verify.Foreign:
		line("so the key is not the device's: somebody in between may read along")
	default:
		line("so it is not known who holds the key")
	}
	for _, c := range r.Checks {
		switch {
		case c.State == verify.Wrong:
			line("wrong: %s: %s", c.Step, c.Detail)
		case c.State == verify.NotChecked && c.Detail != verify.Skipped:
			line("not checked: %s: %s", c.Step, c.Detail)
		}
	}
}

// verdictError gives a verdict its exit code and advice.
func verdictError(r *verify.Report) error {
	switch {
	case r.Verdict == verify.Held:
		return nil
	case r.Verdict == verify.Foreign:
		return &cli.Error{Code: cli.ExitForeign, Err: hint.ForeignKey.Error(fmt.Errorf("%s: the key is not the device's", r.Name))}
	case r.Of(verify.Identity).State == verify.NotChecked && r.Of(verify.Key).State == verify.OK && r.Of(verify.Time).State == verify.OK && r.Of(verify.Chain).State == verify.OK:
		return hint.NotPinned.Error(fmt.Errorf("%s: a device holds the key, and nothing says whether it is the right one", r.Name))
	}
	advice := *hint.NotVerified
	if r.Of(verify.Connection).State != verify.OK { // no chain was seen
		advice.Do = advice.Do[:1]
	}
	return advice.Error(fmt.Errorf("%s: who holds the key was not checked to the end", r.Name))
}
