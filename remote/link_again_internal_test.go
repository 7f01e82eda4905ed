package remote

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// A loggedWay is a way whose log is kept.
type loggedWay struct {
	*way
	log bytes.Buffer
}

// bubble runs f with a way without links, in a bubble.
func bubble(t *testing.T, f func(*testing.T, *loggedWay)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := new(loggedWay)
		d := &Device{log: slog.New(slog.NewTextHandler(&w.log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		w.way = &way{d: d, ctx: ctx, candidates: []string{"relay.test"}, wants: make(map[*Listener]bool), sessions: make(map[*session]struct{})}
		w.way.tellings.after, w.way.tellings.wants, w.way.tellings.has = w.way.after, w.way.isToClaim, w.way.has
		f(t, w)
		cancel()
		d.wg.Wait()
	})
}

// listener is one whose name the way is to claim.
func (w *loggedWay) listener(name string) *Listener {
	l := &Listener{d: w.d, domain: name, wanted: 1, links: newNameLinks()}
	w.wants[l] = true
	return l
}

// session is one on a link that is the first, with a name.
func (w *loggedWay) session(t *testing.T, l *Listener) *session {
	t.Helper()
	link, _ := connected(t, framing.Handler{})
	s := newSession(w.way, &reached{relay: "relay.test", link: link, first: true})
	s.tellGiven([]*Listener{l})
	s.claimed = true
	return s
}

// lines returns how many lines the log has, and the last one.
func (w *loggedWay) lines() (n int, last string) {
	synctest.Wait()
	all := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	return len(all), all[len(all)-1]
}

// A relay that denies a name for another reason each time, or gives it and takes it back each
// second, fills no log, whose last word of the name is true soon.
func TestNamesThatComeAndGoFillNoLog(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		l := w.listener("a.relay.test")
		s := w.session(t, l)
		deny := func(text string) {
			denied := map[*Listener]error{l: &framing.Denial{Code: framing.DeniedLimit, Text: text, Retry: time.Second}}
			if wait := w.later("relay.test", denied, nil); wait != time.Second {
				t.Fatalf("it is asked again after %v", wait)
			}
		}
		for i := range 1000 {
			deny(strings.Repeat("x", i))
			s.tellGiven([]*Listener{l})
			time.Sleep(time.Second)
		}
		if n, _ := w.lines(); n < toldBurst || n > toldBurst+4 {
			t.Errorf("%d lines", n)
		}
		deny("at last")
		time.Sleep(toldInterval)
		if _, last := w.lines(); !strings.Contains(last, "does not give") || !strings.Contains(last, "at last") {
			t.Errorf("it is denied, and the log's last word is %s", last)
		}
		s.tellGiven([]*Listener{l})
		time.Sleep(toldInterval)
		n, last := w.lines()
		if !strings.Contains(last, "gives one more name") {
			t.Errorf("it is given, and the log's last word is %s", last)
		}
		time.Sleep(10 * toldInterval)
		if more, _ := w.lines(); more > n {
			t.Errorf("nothing has changed, and there are %d more lines", more-n)
		}
		deny("of a name that is not wanted")
		w.tellings.forget(l)
		if more, last := w.lines(); more > n+1 {
			t.Errorf("%d more lines, the last is %s", more-n, last)
		}
	})
}

// Of a name that was refused for good nothing older is told later, nor is anything kept of it.
func TestRefusalIsTheLogsLastWordOfAName(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		l, other := w.listener("a.relay.test"), w.listener("b.relay.test")
		l.wanted = 2               // so that it does not end
		w.listener("c.relay.test") // nor does the way
		w.d.state, w.d.ways = new(state), []*way{w.way}
		s := w.session(t, l)
		denied := func(l *Listener, text string) {
			w.later("relay.test", map[*Listener]error{l: &framing.Denial{Code: framing.DeniedLimit, Text: text, Retry: time.Second}}, nil)
		}
		for i := range toldBurst + 4 {
			denied(l, strings.Repeat("x", i))
		}
		s.deny(l, &framing.Denial{Name: l.domain, Code: framing.DeniedBanned, Text: "banned"})
		time.Sleep(2 * toldInterval)
		if _, last := w.lines(); !strings.Contains(last, "will not serve") {
			t.Errorf("it was refused for good, and the log's last word is %s", last)
		}
		denied(l, "on a link that has waited for its answer")
		s.tellGiven([]*Listener{l})
		if _, last := w.lines(); !strings.Contains(last, "will not serve") {
			t.Errorf("another link has heard of it later, and the log's last word is %s", last)
		}
		w.session(t, l)
		w.isSlow("relay.test", l)
		if n := len(w.tellings.names); n > 0 {
			t.Errorf("%d names are kept", n)
		}
		denied(other, "not yet")
		w.d.unwant(other) // without a session
		if n := len(w.tellings.names); n > 0 {
			t.Errorf("%d names are kept that nobody wants", n)
		}
	})
}

// A reason that was told is told again after a link that came up with the name.
func TestReasonIsToldAgainAfterALinkWithTheName(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		l := w.listener("a.relay.test")
		denied := map[*Listener]error{l: &framing.Denial{Code: framing.DeniedLimit, Text: "no", Retry: time.Hour}}
		w.later("relay.test", denied, nil)
		w.later("relay.test", denied, nil)
		if n, _ := w.lines(); n != 1 {
			t.Errorf("%d lines of one reason", n)
		}
		w.session(t, l)
		w.later("relay.test", denied, nil)
		if n, last := w.lines(); n != 3 || !strings.Contains(last, "does not give") {
			t.Errorf("%d lines, the last is %s", n, last)
		}
	})
}

// A name that one link has and another one is denied is given, until no link has it any more.
func TestANameThatOneOfTheLinksHasIsGiven(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		l := w.listener("a.relay.test")
		denied := map[*Listener]error{l: &framing.Denial{Name: l.domain, Code: framing.DeniedUnavailable, Text: "not on this node", Retry: time.Hour}}
		last := func(want string) {
			t.Helper()
			if _, last := w.lines(); !strings.Contains(last, want) {
				t.Errorf("the log's last word is %s, want %q", last, want)
			}
		}
		link, _ := connected(t, framing.Handler{})
		one, two := newSession(w.way, &reached{relay: "relay.test", link: link, news: make(chan struct{}, 1)}),
			newSession(w.way, &reached{relay: "relay.test", link: link})
		one.denied, one.claimed, two.claimed = denied, true, true
		defer w.attend(one)()
		w.later("relay.test", one.denied, one.has)
		last("does not give")
		two.has[l] = 0
		two.began = time.Now()
		w.line.rise()
		w.give("relay.test", l)
		two.tellGiven([]*Listener{l})
		w.later("relay.test", one.denied, one.has)
		last("gives one more name")
		two.down(net.ErrClosed)
		select {
		case <-one.r.news:
		default:
			t.Error("the other link does not hear that the name is gone")
		}
		w.later("relay.test", one.denied, one.has)
		last("does not give")
	})
}

// New rules of a name that a relay does not take yet are told as denied, and are given in the
// end, though the link had the name all the time.
func TestTheLastWordOfANameWhoseNewRulesWereDenied(t *testing.T) {
	deny := true
	s, list := claiming(t, func(_ context.Context, name string) error {
		if deny {
			return &framing.Denial{Name: name, Code: framing.DeniedUnavailable, Retry: time.Minute}
		}
		return nil
	}, "a.relay.test")
	var log bytes.Buffer
	s.w.d.log = slog.New(slog.NewTextHandler(&log, nil))
	s.has[list[0]], s.claimed = -1, true // it has other rules
	s.w.give("relay.test", list[0])
	for _, want := range []string{"does not give this name yet", "gives one more name"} {
		s.settle(true)
		s.w.later("relay.test", s.denied, s.has)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			t.Errorf("the log's last word is %s, want %q", last, want)
		}
		deny = false
	}
}

// Of names that come and go nothing is kept, as long as the way stays for another one.
func TestNamesThatHaveGoneAreNotKeptByTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		w.d.state, w.d.ways, w.d.listeners = &state{dir: t.TempDir()}, []*way{w.way}, make(map[string]*Listener)
		w.listener("stays.relay.test")
		for i := range 100 {
			l := w.listener(fmt.Sprintf("n%d.relay.test", i))
			w.give("relay.test", l)
			w.take(l)
			w.d.unwant(l)
		}
		if n := len(w.gave); n > 1 {
			t.Errorf("%d listeners are kept of names that have gone", n)
		}
	})
}
