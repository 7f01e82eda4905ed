package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/remote/watch"
)

// A stopping is the answer to "remote stop": one line at once, and one with Ended when
// the run has come to its end. Fields are added, never changed.
type stopping struct {
	Visitors int       `json:"visitors"` // who are there still
	Until    time.Time `json:"until"`    // and may finish until then
	Ended    bool      `json:"ended"`
}

// A running is a remote that answers on its socket.
type running struct {
	status
	http *http.Client
}

// asLever makes a command one that asks the remotes that run with a state directory.
func asLever(c *cobra.Command, do func(c *cobra.Command, all []running) error) *cobra.Command {
	config.RemoteStateFlags(c.Flags())
	pid := c.Flags().Int("pid", 0, "only the remote with this process `NUMBER`, where several share the state directory")
	c.Args = cli.NoArgs()
	c.Long += "\n\nIt asks the remote that runs with this --config, or on this --state-dir, as its user or\nas root. It dials nothing else."
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := config.RemoteStateDir(c.Flags())
		if err != nil {
			return cli.Usage(err)
		}
		all, err := findRunning(c.Context(), dir)
		if *pid != 0 {
			all = slices.DeleteFunc(all, func(r running) bool { return r.PID != *pid })
		}
		switch {
		case len(all) > 0:
			return do(c, all)
		case err != nil:
			return err
		case *pid != 0:
			return hint.NoRemoteHere.Error(fmt.Errorf("no remote runs with the state directory %s as process %d", dir, *pid))
		}
		return hint.NoRemoteHere.Error(fmt.Errorf("no remote runs with the state directory %s", dir))
	}
	return c
}

// findRunning returns the remotes that answer, in the order of their processes. The error
// is why one of them did not.
func findRunning(ctx context.Context, stateDir string) (all []running, failed error) {
	dir := runsDir(stateDir)
	paths, err := sockets(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, cannotAsk(dir, err)
	}
	sweep(dir)
	for _, path := range paths {
		r := running{http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
			DisableKeepAlives: true,
		}}}
		ctx, cancel := context.WithTimeout(ctx, leverTimeout)
		err := r.ask(ctx, http.MethodGet, "status", func(d *json.Decoder) error { return d.Decode(&r.status) })
		cancel()
		switch {
		case err == nil:
			all = append(all, r)
		case !isDead(err):
			failed = cmp.Or(failed, cannotAsk(path, err))
		}
	}
	slices.SortFunc(all, func(a, b running) int { return cmp.Compare(a.PID, b.PID) })
	return all, failed
}

// isDead reports whether an error of a dial says that nobody listens on a socket.
func isDead(err error) bool {
	const refused = syscall.Errno(10061) // of Windows: WSAECONNREFUSED
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, refused)
}

func cannotAsk(path string, err error) error {
	err = fmt.Errorf("cannot ask the remote at %s: %w", path, err)
	if errors.Is(err, fs.ErrPermission) {
		return hint.NotYourRemote.Error(err)
	}
	return err
}

// ask sends a request and reads the answer.
func (r *running) ask(ctx context.Context, method, what string, read func(*json.Decoder) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://remote/"+what, nil)
	if err != nil {
		return err
	}
	res, err := r.http.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the address, which is made up
		}
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return read(json.NewDecoder(res.Body))
	case http.StatusForbidden:
		return fmt.Errorf("it answers %s: %w", res.Status, fs.ErrPermission)
	}
	return fmt.Errorf("it answers %s", res.Status)
}

func statusCommand() *cobra.Command {
	var asJSON bool
	c := asLever(&cobra.Command{
		Use:   "status",
		Short: "Show what the running remote does",
		Long: `Shows the names with their targets, the links to the relays, the certificates, what
the last look from outside has found, what certificate transparency shows, and the
visitors who are there now. What is intercepted stands first.

Exit codes: 0 it runs, 1 none runs or answers, 2 wrong usage, 4 a name is intercepted.`,
		Example: `  remote status
  remote status --json | jq '.names[] | select(.up | not)'`,
	}, func(c *cobra.Command, all []running) error {
		return showStatus(c.OutOrStdout(), all, asJSON)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON, an object for each remote that runs")
	return c
}

// showStatus shows what runs do. The error says which name is intercepted.
func showStatus(w io.Writer, all []running, asJSON bool) error {
	var first error
	for i, r := range all {
		switch {
		case asJSON:
			if err := cli.WriteJSON(w, r.status); err != nil {
				return err
			}
		default:
			if i > 0 {
				fmt.Fprintln(w)
			}
			f, ok := w.(*os.File)
			r.write(w, ok && isTerminal(f))
		}
		for _, n := range r.Names {
			if n.Intercepted && first == nil {
				err := hint.Intercepted.Error(fmt.Errorf("%s is intercepted", n.Name), "NAME", n.Name)
				first = &cli.Error{Code: cli.ExitForeign, Err: err}
			}
		}
	}
	return first
}

// write shows a status to people.
func (s *status) write(w io.Writer, colour bool) {
	for _, n := range s.Names {
		if n.Intercepted {
			line := plain.Text("INTERCEPTED: " + n.Name + ": " + n.alarm())
			if colour {
				line = red + line + plainAgain
			}
			fmt.Fprintln(w, line)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = plain.Text(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	row("Running", fmt.Sprintf("for %s, as process %d, version %s", ago(s.Since), s.PID, s.Version))
	row("State", s.State)
	if len(s.Links) == 0 {
		row("Link", "none is up")
	}
	for _, l := range s.Links {
		relay := l.Relay
		if l.Node != "" {
			relay += ", node " + l.Node
		}
		row("Link", fmt.Sprintf("%s, %s, for %s", relay, l.roundTrip(), ago(l.Since)))
	}
	if h := s.Home; h != nil {
		row("At home", fmt.Sprintf("%s, without a relay; visitors who came so: %d", strings.Join(h.Addresses, " and "), h.Visitors))
	}
	row("Visitors", strconv.Itoa(s.Visitors))
	if s.Inspector != "" {
		row("Inspector", s.Inspector)
	}
	for _, n := range s.Names {
		if n.Alarm != nil && !n.Intercepted {
			row("Alarm before", n.Name+": "+n.Alarm.Text+when(n.Alarm.Time))
		}
	}
	if len(s.Names) == 1 {
		n := s.Names[0]
		row("Name", n.URL+" -> "+n.Target)
		row("Up", n.up())
		if n.TCP {
			row("TCP port", portText)
		}
		row("Certificate", n.Certificate.text())
		row("From outside", n.Outside.Text+when(n.Outside.Time))
		row("Certificate transparency", n.CT.Text+when(n.CT.Answered))
		_ = t.Flush()
		return
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	row("NAME", "TARGET", "UP", "CERTIFICATE", "VISITORS", "FROM OUTSIDE", "CERTIFICATE TRANSPARENCY")
	for _, n := range s.Names {
		row(n.Name, n.Target, n.up(), n.Certificate.short(), strconv.Itoa(n.Visitors), short(n.Outside.State)+when(n.Outside.Time), short(n.CT.State)+when(n.CT.Answered))
	}
	_ = t.Flush()
}

// roundTrip is the time of a round trip, for people.
func (l linkStatus) roundTrip() string {
	if l.RoundTrip > 0 {
		return fmt.Sprintf("round trip %.1f ms", l.RoundTrip)
	}
	return "round trip not measured yet"
}

// alarm is why the name counts as intercepted.
func (n *nameStatus) alarm() string {
	if n.Alarm != nil && n.Outside.State != string(watch.Own) {
		return n.Alarm.Text + when(n.Alarm.Time)
	}
	return "certificate transparency: " + n.CT.Text
}

func (n *nameStatus) up() string {
	switch {
	case n.Up:
		return "by " + strings.Join(n.Relays, ", ")
	case n.Why != "":
		return "no: " + n.Why
	}
	return "no"
}

func (c *certStatus) text() string {
	if c == nil || c.Brought {
		return c.short()
	}
	return c.short() + ", from " + c.Issuer
}

// short is what a line of many says.
func (c *certStatus) short() string {
	const day = "2 Jan 2006"
	switch {
	case c == nil:
		return "none"
	case c.Brought:
		return fmt.Sprintf("until %s, from files", c.Until.Local().Format(day))
	case c.Renewal == nil:
		return "until " + c.Until.Local().Format(day)
	}
	return fmt.Sprintf("until %s, renewed from %s on", c.Until.Local().Format(day), c.Renewal.Local().Format(day))
}

// short is a state in a line of many.
func short(state string) string {
	switch state {
	case string(watch.Own):
		return "nobody between"
	case string(watch.NotRun):
		return "not checked"
	case isPending:
		return "not yet"
	case ctForeign:
		return "INTERCEPTED: a foreign key"
	case string(watch.Intercepted):
		return "INTERCEPTED"
	case ctBlind:
		return "does not work"
	case ctClear:
		return "no foreign key"
	}
	return state
}

// when is how long ago something was, behind what it was; nothing where that is not known.
func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " (" + ago(*t) + " ago)"
}

// ago is how long ago a time was, in the largest unit that fits.
func ago(t time.Time) string {
	switch d := max(0, time.Since(t)); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}

// only is the one remote that runs.
func only(all []running) (*running, error) {
	if len(all) == 1 {
		return &all[0], nil
	}
	var pids []string
	for _, r := range all {
		pids = append(pids, strconv.Itoa(r.PID))
	}
	return nil, cli.Usage(hint.SeveralRun.Error(fmt.Errorf("%d remotes run with this state directory: processes %s", len(all), strings.Join(pids, ", "))))
}

func stopCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "stop",
		Short: "End the running remote in good order, as SIGTERM does",
		Long: `The remote takes no new visitors and ends when the last one has gone, or after
drain_timeout; the command waits for that. Ended itself, it does not undo the stop.
SIGTERM to the remote then cuts its visitors.

Exit codes: 0 it has ended, 1 none runs or answers, 2 wrong usage.`,
		Example: `  remote stop
  remote stop --config remote.yaml`,
	}, func(c *cobra.Command, all []running) error {
		r, err := only(all)
		if err != nil {
			return err
		}
		return r.stop(c.Context(), c.OutOrStdout())
	})
}

// stop ends a remote and waits until it has ended.
func (r *running) stop(ctx context.Context, w io.Writer) error {
	return r.ask(ctx, http.MethodPost, "stop", func(d *json.Decoder) error {
		var s stopping
		if err := d.Decode(&s); err != nil {
			return fmt.Errorf("read the answer of process %d: %w", r.PID, err)
		}
		if s.Visitors > 0 {
			fmt.Fprintf(w, "stopping: visitors who are still there: %d; they have until %s\n", s.Visitors, s.Until.Local().Format(time.TimeOnly))
		}
		if err := d.Decode(&s); err != nil || !s.Ended {
			return fmt.Errorf("process %d has gone without a last word: it was cut short", r.PID)
		}
		fmt.Fprintf(w, "process %d has ended\n", r.PID)
		return nil
	})
}

func reloadCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "reload",
		Short: "Have the running remote read its configuration again, as SIGHUP does",
		Long: `The remote reads its configuration and the files that it names again, and cuts nobody.
A mistake leaves everything as it is, and is told here and in the log.

Exit codes: 0 it is taken up, or there is nothing to read, 1 none runs or answers, 2 wrong
usage, or something is wrong with the configuration.`,
		Example: `  remote reload
  remote reload --config remote.yaml`,
	}, func(c *cobra.Command, all []running) error {
		r, err := only(all)
		if err != nil {
			return err
		}
		var done reloaded
		if err := r.ask(c.Context(), http.MethodPost, "reload", func(d *json.Decoder) error { return d.Decode(&done) }); err != nil {
			return err
		}
		return done.tell(c.OutOrStdout())
	})
}

// tell says what a reload has done. The error is what was not taken up.
func (r *reloaded) tell(w io.Writer) error {
	if r.NewKey {
		fmt.Fprintln(w, "the new key of the device is taken up")
	}
	if r.Nothing && len(r.Wrong) == 0 && !r.NewKey {
		fmt.Fprintln(w, "there is nothing to reload: it runs without a file, and settings are read at the start")
	}
	if r.Done {
		fmt.Fprintln(w, plain.Text(fmt.Sprintf("reloaded: added %s, changed %s, gone %s", list(r.Added), list(r.Changed), list(r.Gone))))
	}
	for _, key := range r.Restart {
		fmt.Fprintf(w, "%s has changed and takes a restart; its old value stays\n", plain.Text(key))
	}
	if len(r.Wrong) == 0 {
		return nil
	}
	var errs []error
	for _, m := range r.Wrong {
		errs = append(errs, m)
	}
	return cli.Usage(errors.Join(errs...))
}
