package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay/operator"
)

func statusCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "status",
		Short: "Show what the running relay does",
		Example: `  relay status --config relay.yaml
  relay status --json | jq .visitors`,
	}, func(l *lever) error {
		var st operator.Status
		if err := l.client.Get(l.Context(), "/v1/status", nil, &st); err != nil {
			return err
		}
		return l.show(st, func(w io.Writer) { statusTable(st).write(w) })
	})
}

func statusTable(st operator.Status) table {
	state := st.State
	switch {
	case st.Why != "":
		state += ", not ready: " + st.Why
	case st.Ready:
		state += ", ready"
	}
	var t table
	t.add("Relay", st.Domain)
	t.add("State", state)
	t.add("Running", fmt.Sprintf("for %s, as process %d, version %s", ago(st.Since), st.PID, st.Version))
	if st.CertificateUntil != nil {
		t.add("Certificate", fmt.Sprintf("until %s, in %s", st.CertificateUntil.Format(time.DateOnly), span(time.Until(*st.CertificateUntil))))
	}
	t.add("Policy", st.Policy)
	if c := st.Certificates; c != nil {
		left := fmt.Sprintf("%d of %d new names a week may have their first certificate now", c.Left, c.PerWeek)
		if c.NextIn > 0 {
			left += ", the next in " + span(time.Duration(c.NextIn)*time.Second)
		}
		if c.Waiting > 0 {
			left += fmt.Sprintf("; %d wait for their turn", c.Waiting)
		}
		t.add("CA's limit", left)
	}
	t.add("Names up", strconv.Itoa(st.NamesUp))
	t.add("Links", strconv.Itoa(st.Links))
	t.add("Visitors", fmt.Sprintf("%d now, %d since the start; %d connections were refused", st.Visitors, st.VisitorsTotal, st.RefusedTotal))
	t.add("Memory", fmt.Sprintf("%s of %s", amount(st.Memory), amount(st.MemoryLimit)))
	if st.Panics > 0 {
		t.add("Panics", fmt.Sprintf("%d: see the log, and please report them", st.Panics))
	}
	var addrs []string
	for _, s := range st.Sockets {
		addrs = append(addrs, s.For+" "+s.Addr)
	}
	t.add("Listening", strings.Join(addrs, ", "))
	return t
}

func drainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "drain",
		Short: "End the running relay in good order, as SIGTERM does",
		Long: `The relay takes no new visitors, and ends when the last one has gone, or after
drain_timeout. A second SIGTERM cuts the wait short.`,
		Example: `  relay drain --config relay.yaml --wait --reason "moving to another machine"`,
	}
	why := reason(c)
	wait := c.Flags().Bool("wait", false, "return once the relay has closed its record of names, so that state_dir can be copied")
	return asLever(c, func(l *lever) error {
		var d operator.Draining
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/drain", operator.Drain{Reason: *why}, &d); err != nil {
			return err
		}
		err := l.show(d, func(w io.Writer) {
			fmt.Fprintf(w, "draining: %s may finish until %s\n", counted(d.Visitors, "visitor", "visitors"), clockTime(d.Until))
		})
		if err != nil || !*wait {
			return err
		}
		return awaitUnlocked(l.Context(), l.stateDir)
	})
}

func configCommand() *cobra.Command {
	return group("config", "The configuration of the running relay", asLever(&cobra.Command{
		Use:   "show",
		Short: "Show the configuration in effect, and where each value was said",
		Example: `  relay config show --config relay.yaml
  relay config show --json | jq -r 'select(.from != "default") | .key'`,
	}, func(l *lever) error {
		var cfg operator.Config
		if err := l.client.Get(l.Context(), "/v1/config", nil, &cfg); err != nil {
			return err
		}
		t := table{{"KEY", "VALUE", "SAID BY"}}
		for _, s := range cfg.Settings {
			from := s.From
			if s.Line > 0 {
				from += ":" + strconv.Itoa(s.Line)
			}
			t.add(s.Key, s.Value, from)
		}
		return showRows(l, t, cfg.Settings)
	}))
}

// maxEntries is how many entries of the audit log one answer has.
const maxEntries = 10_000

func auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show what was done with the running relay's levers, and what was given out",
		Example: `  relay audit --config relay.yaml
  relay audit --since 1h -n 50
  relay audit --json | jq -r 'select(.what == "identities.ban") | .on'`,
	}
	n := c.Flags().IntP("number", "n", 100, "how many `ENTRIES`, the last ones, at most 10000")
	since := c.Flags().String("since", "", "not older than this `TIME`: 90m, 24h, 7d, or a date as in 2026-01-31")
	return asLever(c, func(l *lever) error {
		if *n < 1 || *n > maxEntries {
			return cli.Usage(fmt.Errorf("--number: %d is not from 1 to %d", *n, maxEntries))
		}
		q := url.Values{"limit": {strconv.Itoa(*n)}}
		if *since != "" {
			t, err := past(*since)
			if err != nil {
				return cli.Usage(hint.Help.Error(err, "COMMAND", l.CommandPath()))
			}
			q.Set("since", t.UTC().Format(time.RFC3339))
		}
		var page operator.AuditPage
		if err := l.client.Get(l.Context(), "/v1/audit", q, &page); err != nil {
			return err
		}
		t := table{{"TIME", "WHO", "WHAT", "ON", "RESULT", "REASON"}}
		for _, e := range page.Entries {
			if e.Node != "" {
				e.Who += " at " + e.Node
			}
			t.add(clockTime(e.Time), e.Who, e.What, e.On, e.Result, e.Reason)
		}
		return showRows(l, t, page.Entries)
	})
}

// past is the time that is meant by a span before now, or by a date.
func past(s string) (time.Time, error) {
	if days, err := strconv.ParseUint(strings.TrimSuffix(s, "d"), 10, 16); err == nil && strings.HasSuffix(s, "d") {
		return time.Now().AddDate(0, 0, -int(days)), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since: %q is no time: as in 90m, 24h, 7d or 2026-01-31", s)
}
