package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay/operator"
)

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
		Args: func(c *cobra.Command, args []string) error {
			err := cli.NoArgs()(c, args)
			if err == nil {
				return nil
			}
			return cli.Usage(hint.MeantFlag.After(err, "FLAG", "names "+strings.Join(args, ",")))
		},
	}
	var t operator.NewToken
	c.Flags().StringSliceVar(&t.Names, "names", nil, "the `NAMES` it is for: whole ones, or *. and a name for all below that")
	c.Flags().StringVar(&t.Expires, "expires", "", "in how much `TIME` it ends, as in 24h or 30d; without it, never")
	c.Flags().IntVar(&t.Uses, "uses", 0, "how many names it opens, `N`; 0 is any number")
	c.Flags().BoolVar(&t.Bind, "bind", false, "only for the first device that uses it")
	c.Flags().StringVar(&t.Note, "note", "", "`TEXT` that the list and the audit log show")
	c.Flags().StringToStringVar(&t.Limits, "limit", nil, "`KEY=VALUE` in the place of a limit of the configuration, as in bandwidth=10MiB/s; KEY is bandwidth, bytes_per_month, connection_rate, names or streams; may repeat")
	c.Flags().Lookup("limit").DefValue = "" // none is no default to show
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
			t.add(k.ID, several(k.Names, 3), day(k.Created), until(k.Expires), used, bound, k.Note)
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

// until is the day on which something ends, and that it has ended; never is "".
func until(t time.Time) string {
	if !t.IsZero() && t.Before(time.Now()) {
		return day(t) + ", over"
	}
	return day(t)
}
