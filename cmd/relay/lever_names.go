package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/relay/names"
	"keystay/relay/operator"
)

func namesCommand() *cobra.Command {
	return group("names", "Whose names are: given out, reserved and banned ones",
		namesListCommand(), namesShowCommand(), namesReserveCommand(), namesUnreserveCommand(), namesReleaseCommand(),
		banCommand("names", "NAME", "xyz.relay.net", "a name, and those below it: nobody gets them, and their visitors are cut"),
		unbanCommand("names", "NAME", "xyz.relay.net"))
}

func namesListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the names that are given out, the reserved or the banned ones",
		Long:  "Names made from devices' keys are given out without a list; relay remotes list shows those that are connected.",
		Example: `  relay names list --config relay.yaml
  relay names list --contains shop --identity a4lv7c5gqsmz4vkjiqsts232p5eloqr6
  relay names list --banned --json | jq -r .of`,
	}
	contains := c.Flags().String("contains", "", "only those with this `TEXT` in them")
	identity := c.Flags().String("identity", "", "only those of this `IDENTITY`")
	reserved := c.Flags().Bool("reserved", false, "the patterns that are reserved by relay names reserve")
	banned := c.Flags().Bool("banned", false, "the names that are banned")
	return asLever(c, func(l *lever) error {
		switch {
		case *reserved && *banned:
			return cli.Usage(errors.New("--reserved and --banned are two lists: give one of them"))
		case (*reserved || *banned) && *contains+*identity != "":
			return cli.Usage(errors.New("--contains and --identity are for the names that are given out, not with --reserved or --banned"))
		case *reserved:
			return l.listReserved()
		case *banned:
			return l.listBans("/v1/names/banned")
		}
		q := url.Values{"limit": {pageSize}}
		set(q, "contains", *contains)
		set(q, "identity", *identity)
		for head := true; ; head = false {
			var page operator.NamesPage
			if err := l.client.Get(l.Context(), "/v1/names", q, &page); err != nil {
				return err
			}
			var t table
			if head {
				t.add("NAME", "IDENTITY", "STATUS", "SINCE", "SEEN", "UNTIL", "TOKEN")
			}
			for _, g := range page.Names {
				t.add(g.Name, g.Identity, string(g.Status), day(g.Since), day(g.Seen), day(g.Until), g.Token)
			}
			if err := showRows(l, t, page.Names); err != nil || page.Next == "" {
				return err
			}
			q.Set("after", page.Next)
		}
	})
}

// showRows shows a table, or where JSON is asked for one object for each entry.
func showRows[T any](l *lever, t table, entries []T) error {
	if !l.json {
		t.write(l.OutOrStdout())
		return nil
	}
	for _, e := range entries {
		if err := l.show(e, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *lever) listReserved() error {
	var list operator.Reserved
	if err := l.client.Get(l.Context(), "/v1/names/reserved", nil, &list); err != nil {
		return err
	}
	t := table{{"PATTERN", "SINCE", "NOTE"}}
	for _, r := range list.Reserved {
		t.add(r.Pattern, day(r.Since), r.Note)
	}
	return showRows(l, t, list.Reserved)
}

func namesShowCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "show NAME",
		Short: "Show whose a name is, and who serves it",
		Example: `  relay names show xyz.relay.net --config relay.yaml
  relay names show xyz.relay.net --json`,
		Args: cli.Args("NAME"),
	}, func(l *lever) error {
		var n operator.Name
		if err := l.client.Get(l.Context(), "/v1/names/"+url.PathEscape(l.args[0]), nil, &n); err != nil {
			return err
		}
		return l.show(n, func(w io.Writer) { nameTable(n).write(w) })
	})
}

func nameTable(n operator.Name) table {
	t := table{{"Name", n.Name}}
	if g := n.Grant; g != nil {
		until := "expires " + day(g.Until) + ", if it is not used until then"
		if g.Status == names.Lapsed {
			until = "kept from others until " + day(g.Until)
		}
		t.add("Given to", g.Identity)
		t.add("Status", fmt.Sprintf("%s since %s, used until %s; %s", g.Status, day(g.Since), day(g.Seen), until))
		if g.Token != "" {
			t.add("Token", g.Token)
		}
		if g.Proof != nil {
			t.add("Proof", fmt.Sprintf("by DNS (%s), looked at %s", g.Proof.Via, clockTime(g.Proof.Checked)))
		}
	}
	if b := n.Ban; b != nil {
		banned := fmt.Sprintf("%s since %s, %s", b.Of, clockTime(b.Since), end(b.Until))
		if b.Reason != "" {
			banned += ": " + b.Reason
		}
		t.add("Banned", banned)
	}
	for _, r := range n.Remotes {
		for _, k := range r.Links {
			t.add("Served by", fmt.Sprintf("%s, run %d, from %s for %s, %s", r.Identity, r.Run, k.Address, ago(k.Since), counted(k.Streams, "visitor", "visitors")))
		}
	}
	return t
}

func namesReserveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reserve PATTERN",
		Short: "Keep names to yourself: they are given out only for a token with the very name",
		Long: `A pattern without a dot is for the label directly below the relay's name, and what
is below that: www, mail*. A star stands for any characters. Who has such a name
keeps it.`,
		Example: `  relay names reserve shop --config relay.yaml --note "for our own shop"
  relay names reserve 'bank*'`,
		Args: cli.Args("PATTERN"),
	}
	note := c.Flags().String("note", "", "`TEXT` that the list and the audit log show")
	return asLever(c, func(l *lever) error {
		var r names.Reservation
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/names/reserve", operator.Reserve{Pattern: l.args[0], Note: *note}, &r); err != nil {
			return err
		}
		return l.show(r, func(w io.Writer) { fmt.Fprintln(w, "reserved", r.Pattern) })
	})
}

func namesUnreserveCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:     "unreserve PATTERN",
		Short:   "End what relay names reserve has begun",
		Example: `  relay names unreserve shop --config relay.yaml`,
		Args:    cli.Args("PATTERN"),
	}, func(l *lever) error {
		var r operator.Reserve
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/names/unreserve", operator.Reserve{Pattern: l.args[0]}, &r); err != nil {
			return err
		}
		return l.show(r, func(w io.Writer) { fmt.Fprintln(w, r.Pattern, "is not reserved any more") })
	})
}

func namesReleaseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "release NAME",
		Short: "Take a name from the device that has it",
		Long: `The device loses the name at once. The name is kept from other devices for 90 days,
since the one that had it may have a certificate for it for so long; --free gives
it out before.`,
		Example: `  relay names release xyz.relay.net --config relay.yaml --reason "not used"
  relay names release --free xyz.relay.net`,
		Args: cli.Args("NAME"),
	}
	free := c.Flags().Bool("free", false, "for others at once, also where it is released already")
	why := reason(c)
	return asLever(c, func(l *lever) error {
		var g names.Grant
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/names/release", operator.Release{Name: l.args[0], Free: *free, Reason: *why}, &g); err != nil {
			return err
		}
		return l.show(g, func(w io.Writer) {
			now := fmt.Sprintf("kept from other devices for %d days", int(names.GraceTime/(24*time.Hour)))
			if *free {
				now = "free for others now"
			}
			fmt.Fprintf(w, "released %s, which was %s's; %s\n", g.Name, g.Identity, now)
		})
	})
}
