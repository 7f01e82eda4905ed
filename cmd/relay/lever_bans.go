package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/relay/operator"
)

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
