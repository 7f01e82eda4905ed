package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"keystay/cmd/remote/screen"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/remote/watch"
)

const (
	// keptMessages is how much of what has happened the screen knows.
	keptMessages = 200
	// statusEvery is how often it asks for the status.
	statusEvery = time.Second
	// statusShare is which part of the time, at most, goes into answering that: with
	// hundreds of names there are files to look at for each.
	statusShare = 50
	// serviceEvery is how often a local service is dialled that could not be reached yet.
	serviceEvery = 5 * time.Second
	// shownAtEnd is how many names the last lines have.
	shownAtEnd = 5
)

// A live is the live screen of a run, with what it knows.
type live struct {
	plain   func(screen.Message) error // says it in the place of the screen
	early   atomic.Bool                // there is no screen yet, and may not be for long
	traffic traffic

	status status // of the last time; for one goroutine, as the two below
	asked  time.Time
	took   time.Duration

	mu       sync.Mutex
	screen   *screen.Screen // nil before the start
	messages []screen.Message
	keyed    bool // a key has asked for the end
	public   bool // it was said that the names are public
	ends     int  // how many messages there were then
}

// wantsScreen reports whether a person looks at a terminal that can show a live screen,
// and has asked for neither lines nor a log on it.
func (p *process) wantsScreen() bool {
	kind := os.Getenv("TERM")
	return !p.cfg.Plain && isTerminal(p.out) && isTerminal(os.Stdin) && screen.IsForeground(os.Stdin) &&
		(kind != "dumb" && kind != "" || runtime.GOOS == "windows") &&
		(!p.cfg.LogAsked || !isTerminal(os.Stderr))
}

func newLive() *live {
	l := &live{plain: lines(os.Stderr, func() int { return cli.Width(os.Stderr) })}
	l.traffic.now = time.Now
	return l
}

// tell takes in what has happened. Where the screen has let go of the terminal it is said
// there, too.
func (l *live) tell(m screen.Message) error {
	if l.early.Load() {
		return l.plain(m)
	}
	l.mu.Lock()
	if l.messages = append(l.messages, m); len(l.messages) > keptMessages {
		l.messages = slices.Delete(l.messages, 0, 1)
		l.ends = max(0, l.ends-1)
	}
	s := l.screen
	l.mu.Unlock()
	if s != nil && !s.Up() {
		return l.plain(m)
	}
	return nil
}

// guardCommand is the command of the process that gives the terminal back after a crash.
const guardCommand = "terminal-guard"

func terminalGuardCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardCommand, Short: "Give the terminal back after a crash", Hidden: true, Args: cli.NoArgs(),
		Run: func(*cobra.Command, []string) { screen.StandGuard() },
	}
}

// startScreen takes the terminal, if it is to have a screen. EndScreen gives it back.
func (p *process) startScreen() {
	if p.live == nil {
		return
	}
	s := screen.Start(screen.Config{
		In: os.Stdin, Out: p.out, Guard: guardCommand, Inspector: p.inspection.url(),
		Figures: p.figures,
		Failed: func(err error) {
			_ = p.live.tell(screen.Message{Time: time.Now(), Text: "The screen has failed: " + err.Error() + ". The remote goes on without it.", Mood: screen.Doubtful})
		},
		Stop: func() {
			p.live.mu.Lock()
			p.live.keyed = true
			p.live.mu.Unlock()
			if p.drain.Err() != nil {
				p.endCut()
			}
			p.endDrain()
		},
	})
	p.live.mu.Lock()
	p.live.screen = s
	p.live.mu.Unlock()
}

// endScreen gives the terminal back, and says there what is to be remembered of the run:
// where it was published, why it has ended if there is no error that says so, alarms, and
// what has gone wrong at the end.
func (p *process) endScreen(err error) {
	l := p.live
	if l == nil {
		return
	}
	l.mu.Lock()
	s, all, from := l.screen, l.messages, l.ends
	l.mu.Unlock()
	if s == nil { // it has not come that far
		for _, m := range all {
			_ = l.plain(m)
		}
		return
	}
	_ = s.Close() // why it had failed was said before
	var b strings.Builder
	for i, n := range l.status.Names {
		if i == shownAtEnd {
			fmt.Fprintf(&b, "and %d more\n", len(l.status.Names)-i)
			break
		}
		b.WriteString(plain.Text(n.URL+" -> "+n.Target) + "\n")
	}
	fmt.Fprintf(&b, "%s after %s. Requests: %d.\n", l.why(err), ago(p.began), l.traffic.shown().Total)
	_, _ = p.out.WriteString(b.String())
	for i, m := range all {
		if m.Mood == screen.Bad || m.Mood == screen.Doubtful && i >= from && p.drain.Err() != nil {
			_ = l.plain(m)
		}
	}
}

// tellPublic says once of a name that it is public.
func (l *live) tellPublic(s start) {
	if s.port {
		_ = l.tell(screen.Message{Time: time.Now(), Text: s.url + " is " + portText + ". " + s.portName() + ".", Mood: screen.Doubtful})
		return
	}
	l.mu.Lock()
	told := l.public
	l.public = true
	l.mu.Unlock()
	if !told {
		_ = l.tell(screen.Message{Time: time.Now(), Text: "The name " + s.name() + "."})
	}
}

// why says why the run has ended.
func (l *live) why(err error) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		return "Ended"
	case l.keyed:
		return "Stopped by a key"
	}
	return "Stopped by a signal or remote stop"
}

// figures is what the screen shows now.
func (p *process) figures() screen.Figures {
	l := p.live
	if began := time.Now(); began.Sub(l.asked) >= max(statusEvery, statusShare*l.took) {
		l.status, l.asked = p.status(), began
		l.took = time.Since(began)
	}
	f := screen.Figures{Now: time.Now(), Traffic: l.traffic.shown()}
	for _, n := range l.status.Names {
		if n.Intercepted {
			f.Alarms = append(f.Alarms, "INTERCEPTED: "+n.Name+": "+n.alarm())
		}
		f.Names = append(f.Names, screen.Name{URL: n.URL, Target: n.Target, Up: n.Up, Visitors: n.Visitors, Rows: l.status.rows(&n)})
	}
	if p.drain.Err() != nil {
		f.State = fmt.Sprintf("Stopping. Visitors who are still there: %d.", p.device.Visitors())
	}
	l.mu.Lock()
	f.Messages = slices.Clone(l.messages)
	if p.drain.Err() == nil {
		l.ends = len(l.messages)
	}
	l.mu.Unlock()
	return f
}

// rows are what the screen shows of a name, what matters most first.
func (s *status) rows(n *nameStatus) (rows []screen.Row) {
	add := func(label, text string, mood screen.Mood) {
		rows = append(rows, screen.Row{Label: label, Text: text, Mood: mood})
	}
	if !n.Up {
		add("State", "not up: "+n.Why, screen.Doubtful)
	}
	if n.Unreached != "" {
		add("Service", "cannot be reached yet: "+n.Unreached, screen.Doubtful)
	}
	if n.TCP {
		add("TCP port", portText, screen.Doubtful)
	} else if n.Intercepted {
		add("Key", "visitors may see another one than this device's: somebody listens in", screen.Bad)
	} else {
		add("Key", keys([]start{{passed: n.Passed}}), screen.Good)
	}
	if !n.TCP {
		add("From outside", n.Outside.Text+when(n.Outside.Time), moodOf(n.Outside.State))
		add("Certificate", n.Certificate.text(), screen.Plain)
	}
	for _, r := range s.relays(n) {
		add("Relay", r, screen.Plain)
	}
	if len(s.Links) == 0 {
		add("Relay", "no link is up", screen.Doubtful)
	}
	visitors := fmt.Sprintf("%d now", n.Visitors)
	if len(s.Names) > 1 {
		visitors += fmt.Sprintf("; %d at all names", s.Visitors)
	}
	add("Visitors", visitors, screen.Plain)
	if !n.TCP {
		add("CT logs", n.CT.Text+when(n.CT.Answered), moodOf(n.CT.State))
	}
	return rows
}

// relays are the relays that lead a name here, each with its links; before there are any,
// all that there are links to.
func (s *status) relays(n *nameStatus) (all []string) {
	var best linkStatus
	links := 0
	var nodes []string
	for i, l := range s.Links { // in the order of relays, the oldest first
		if links++; links == 1 {
			best = l
		} else if l.RoundTrip > 0 && (best.RoundTrip == 0 || l.RoundTrip < best.RoundTrip) {
			best.RoundTrip = l.RoundTrip
		}
		if l.Node != "" && !slices.Contains(nodes, l.Node) {
			nodes = append(nodes, l.Node)
		}
		if i+1 < len(s.Links) && s.Links[i+1].Relay == l.Relay {
			continue
		}
		if len(n.Relays) == 0 || slices.Contains(n.Relays, l.Relay) {
			up := plural(links, "link")
			if len(nodes) > 0 {
				up += " on " + plain.Text(strings.Join(nodes, " and "))
			}
			all = append(all, fmt.Sprintf("%s, %s, %s, for %s", l.Relay, best.roundTrip(), up, ago(best.Since)))
		}
		links, nodes = 0, nil
	}
	return all
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// moodOf is what a state of a look, or of certificate transparency, means.
func moodOf(state string) screen.Mood {
	switch state {
	case string(watch.Own), ctClear:
		return screen.Good
	case string(watch.Intercepted), ctForeign:
		return screen.Bad
	case string(watch.NotRun), ctBlind:
		return screen.Doubtful
	}
	return screen.Plain
}

// awaitService dials the services of a name that answers until they can be reached, for
// whoever looks at the screen.
func (p *process) awaitService(pub *published) {
	every := time.NewTicker(serviceEvery)
	defer every.Stop()
	for told := false; ; {
		err := pub.front.Load().check(pub.watching, pub.ln.Domain())
		if err == nil {
			pub.unreached.Store(nil)
			if told {
				_ = p.live.tell(screen.Message{Time: time.Now(), Text: "The local service can be reached now."})
			}
			return
		}
		text := err.Error()
		pub.unreached.Store(&text)
		if !told {
			_ = p.live.tell(screen.Message{Time: time.Now(), Text: "The local service cannot be reached yet: " + text, Hints: hint.All(err), Mood: screen.Doubtful})
		}
		told = true
		select {
		case <-every.C:
		case <-p.drain.Done():
			return
		case <-pub.watching.Done():
			return
		}
	}
}
