package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
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

// listBans lists the bans that the API has at path.
func (l *lever) listBans(path string) error {
	q := url.Values{"limit": {pageSize}}
	for head := true; ; head = false {
		var page operator.Bans
		if err := l.client.Get(l.Context(), path, q, &page); err != nil {
			return err
		}
		var t table
		if head {
			t.add("BANNED", "SINCE", "UNTIL", "BY", "REASON")
		}
		for _, b := range page.Bans {
			t.add(b.Of, clockTime(b.Since), end(b.Until), b.By, b.Reason)
		}
		if err := showRows(l, t, page.Bans); err != nil || page.Next == "" {
			return err
		}
		q.Set("after", page.Next)
	}
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
		t.add("Banned", fmt.Sprintf("%s since %s, %s: %s", b.Of, clockTime(b.Since), end(b.Until), b.Reason))
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
			now := "kept from other devices for the time of grace"
			if *free {
				now = "free for others now"
			}
			fmt.Fprintf(w, "released %s, which was %s's; %s\n", g.Name, g.Identity, now)
		})
	})
}

func identitiesCommand() *cobra.Command {
	return group("identities", "The devices that are banned", bansCommand("identities", "devices"),
		banCommand("identities", "IDENTITY", "a4lv7c5gqsmz4vkjiqsts232p5eloqr6", "a device's key: it gets no link and no name"),
		unbanCommand("identities", "IDENTITY", "a4lv7c5gqsmz4vkjiqsts232p5eloqr6"))
}

func addressesCommand() *cobra.Command {
	return group("addresses", "The address ranges that are banned", bansCommand("addresses", "address ranges"),
		banCommand("addresses", "RANGE", "203.0.113.0/24", "an address range: devices and visitors from there"),
		unbanCommand("addresses", "RANGE", "203.0.113.0/24"))
}

func bansCommand(of, what string) *cobra.Command {
	return asLever(&cobra.Command{
		Use:     "list",
		Short:   "List the " + what + " that are banned",
		Example: "  relay " + of + " list --config relay.yaml\n  relay " + of + " list --json | jq -r .of",
	}, func(l *lever) error { return l.listBans("/v1/" + of) })
}

func banCommand(of, arg, example, what string) *cobra.Command {
	c := &cobra.Command{
		Use:   "ban " + arg,
		Short: "Ban " + what,
		Long: `Links, visitors and names that it hits are cut within a second, and the devices are
told the reason. It holds over restarts, until it is lifted or its time is over.`,
		Example: "  relay " + of + " ban " + example + " --config relay.yaml --reason phishing\n  relay " + of + " ban " + example + " --for 30d",
		Args:    cli.Args(arg),
	}
	long := c.Flags().String("for", "", "how long, `TIME` as in 90m, 24h or 30d; without it, for good")
	why := reason(c)
	return asLever(c, func(l *lever) error {
		var b operator.Banned
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/"+of+"/ban", operator.Ban{Of: l.args[0], For: *long, Reason: *why}, &b); err != nil {
			return err
		}
		return l.show(b, func(w io.Writer) {
			fmt.Fprintf(w, "banned %s, %s: %s\n", b.Ban.Of, end(b.Ban.Until), severed(b.Severed))
		})
	})
}

func unbanCommand(of, arg, example string) *cobra.Command {
	c := &cobra.Command{
		Use:     "unban " + arg,
		Short:   "Lift a ban",
		Example: "  relay " + of + " unban " + example + " --config relay.yaml",
		Args:    cli.Args(arg),
	}
	why := reason(c)
	return asLever(c, func(l *lever) error {
		var b operator.Unban
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/"+of+"/unban", operator.Unban{Of: l.args[0], Reason: *why}, &b); err != nil {
			return err
		}
		return l.show(b, func(w io.Writer) { fmt.Fprintln(w, b.Of, "is not banned any more") })
	})
}

// end is when something ends; never is "for good".
func end(t time.Time) string {
	if t.IsZero() {
		return "for good"
	}
	return "until " + clockTime(t)
}

// day is the day of a time; none is "".
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateOnly)
}

func tokenCommand() *cobra.Command {
	return group("token", "The tokens that open names, beside those of the configuration", tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
}

func tokenCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a token, and print its secret once",
		Long: `Stdout gets the secret alone, which is kept nowhere: the relay has its hash. Give
it to whoever is to have the names, for remote --token-file.`,
		Example: `  relay token create --config relay.yaml --names xyz.relay.net --uses 1 --note "for Ada"
  relay token create --names '*.team.relay.net' --expires 30d >token`,
	}
	var t operator.NewToken
	c.Flags().StringSliceVar(&t.Names, "names", nil, "the `NAMES` it is for: whole ones, or *. and a name for all below that")
	c.Flags().StringVar(&t.Expires, "expires", "", "in how much `TIME` it ends, as in 24h or 30d; without it, never")
	c.Flags().IntVar(&t.Uses, "uses", 0, "how many names it opens, `N`; 0 is any number")
	c.Flags().BoolVar(&t.Bind, "bind", false, "only for the first device that uses it")
	c.Flags().StringVar(&t.Note, "note", "", "`TEXT` that the list and the audit log show")
	c.Flags().StringToStringVar(&t.Limits, "limit", nil, "`KEY=VALUE` in the place of a limit of the configuration; may repeat")
	return asLever(c, func(l *lever) error {
		var made operator.CreatedToken
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/tokens/create", t, &made); err != nil {
			return err
		}
		return l.show(made, func(w io.Writer) {
			fmt.Fprintln(w, made.Secret)
			fmt.Fprintf(l.ErrOrStderr(), "token %s, for %s; the secret is not shown again\n", made.Token.ID, strings.Join(made.Token.Names, ", "))
		})
	})
}

func tokenListCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "list",
		Short: "List the tokens that were made by relay token create",
		Example: `  relay token list --config relay.yaml
  relay token list --json | jq -r .id`,
	}, func(l *lever) error {
		var list operator.Tokens
		if err := l.client.Get(l.Context(), "/v1/tokens", nil, &list); err != nil {
			return err
		}
		t := table{{"ID", "NAMES", "CREATED", "EXPIRES", "USED", "BOUND TO", "NOTE"}}
		for _, k := range list.Tokens {
			used := fmt.Sprint(k.Used)
			if k.Uses > 0 {
				used = fmt.Sprintf("%d of %d", k.Used, k.Uses)
			}
			bound := k.BoundTo
			if bound == "" && k.Bind {
				bound = "its first device"
			}
			t.add(k.ID, several(k.Names, 3), day(k.Created), day(k.Expires), used, bound, k.Note)
		}
		return showRows(l, t, list.Tokens)
	})
}

func tokenRevokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token; the names that it has opened stay, or go with it",
		Example: `  relay token revoke 0123456789abcdef --config relay.yaml --reason "left the team"
  relay token revoke 0123456789abcdef --with-names`,
		Args: cli.Args("ID"),
	}
	with := c.Flags().Bool("with-names", false, "release the names that it has opened: whoever has them loses them at once")
	why := reason(c)
	return asLever(c, func(l *lever) error {
		var r operator.Revoked
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/tokens/revoke", operator.Revoke{ID: l.args[0], Names: *with, Reason: *why}, &r); err != nil {
			return err
		}
		return l.show(r, func(w io.Writer) {
			fmt.Fprint(w, "revoked ", l.args[0])
			if len(r.Released) > 0 {
				fmt.Fprint(w, "; released ", several(r.Released, 10))
			}
			fmt.Fprintln(w)
		})
	})
}
