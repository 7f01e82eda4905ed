package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/keyname"
	"keystay/relay/operator"
)

func remotesCommand() *cobra.Command {
	return group("remotes", "The remotes that are connected", remotesListCommand(), remotesKickCommand())
}

// pageSize is how many entries of a list are asked for at once.
const pageSize = "5000"

func remotesListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the remotes that are connected",
		Example: `  relay remotes list --config relay.yaml
  relay remotes list --name xyz.relay.net
  relay remotes list --json | jq -r '.links[].address'`,
	}
	identity := c.Flags().String("identity", "", "only those of this `IDENTITY`")
	name := c.Flags().String("name", "", "only those that serve this `NAME`")
	return asLever(c, func(l *lever) error {
		q := url.Values{"limit": {pageSize}}
		set(q, "identity", *identity)
		set(q, "name", *name)
		for first := true; ; first = false {
			var page operator.Remotes
			if err := l.client.Get(l.Context(), "/v1/remotes", q, &page); err != nil {
				return err
			}
			if err := l.showRemotes(page.Remotes, first); err != nil || page.Next == "" {
				return err
			}
			q.Set("after", page.Next)
		}
	})
}

// set sets a parameter that is not empty.
func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func (l *lever) showRemotes(list []operator.Remote, first bool) error {
	var t table
	if first {
		t.add("IDENTITY", "RUN", "LINK FROM", "SINCE", "RTT", "STREAMS", "NAMES")
	}
	for _, r := range list {
		for i, k := range r.Links {
			about := []string{r.Identity, strconv.FormatUint(r.Run, 10)}
			if i > 0 {
				about = []string{"", ""}
			}
			names := ""
			if i == 0 {
				names = several(r.Names, 3)
			}
			t.add(append(about, k.Address.String(), ago(k.Since), milliseconds(k.RTT), strconv.Itoa(k.Streams), names)...)
		}
	}
	return showRows(l, t, list)
}

// milliseconds is a round-trip time; 0 is unknown.
func milliseconds(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.1fms", ms)
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Millisecond).String()
}

func remotesKickCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "kick IDENTITY|NAME|ADDRESS:PORT",
		Short: "Cut a remote's links and visitors; it may come back",
		Long: `It cuts the links of an identity, of the remotes that serve a name, or the one
link from an address, with their visitors, within a second. The remotes are told
the reason, and dial again at once: to keep them away, ban them.`,
		Example: `  relay remotes kick xyz.relay.net --reason "please update"
  relay remotes kick 203.0.113.7:51234`,
		Args: cli.Args("IDENTITY, NAME or ADDRESS:PORT"),
	}
	why := reason(c)
	return asLever(c, func(l *lever) error {
		k := operator.Kick{Reason: *why}
		what := l.args[0]
		_, notAddress := netip.ParseAddr(what)
		switch _, err := netip.ParseAddrPort(what); {
		case err == nil || notAddress == nil: // without a port it is told so
			k.Address = what
		case keyname.Is(what):
			k.Identity = what
		default:
			k.Name = what
		}
		var n operator.Severed
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/remotes/kick", k, &n); err != nil {
			return err
		}
		return l.show(n, func(w io.Writer) { fmt.Fprintln(w, "kicked "+what+": "+severed(n)) })
	})
}

// severed says what a lever has ended.
func severed(n operator.Severed) string {
	var parts []string
	if n.Links > 0 {
		parts = append(parts, counted(n.Links, "link", "links"))
	}
	if n.Names > 0 {
		parts = append(parts, counted(n.Names, "name", "names"))
	}
	if n.Visitors > 0 {
		parts = append(parts, counted(n.Visitors, "visitor", "visitors"))
	}
	said := strings.Join(parts, ", ") + " cut"
	if parts == nil {
		said = "nothing of it was connected"
	}
	if n.Elsewhere {
		said += " here, and the other nodes were told"
	}
	return said
}
