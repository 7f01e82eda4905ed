package remote

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"keystay/internal/hint"
)

// What the log says of the links to a relay: the first that comes up, each
// further one, that none is up and why, and that one of several was lost. The
// outages decide which of the failures are worth a line.

// tell says how a session has ended, or that there was none, and that the next
// attempt follows after wait, 0 for at once. WasUp says that there was a session.
// The returned function says, after the wait, what can only be told then.
func (k *linker) tell(wasUp bool, err error, wait time.Duration) (rest func()) {
	w := k.way
	if wasUp {
		k.outage.ends()
	}
	down, times := w.line.down()
	switch {
	case wait == 0 && down: // the last link speaks for all
		tells := w.tellings.takesLine()
		if tells {
			w.tellings.noteLoss()
		}
		w.d.log.Log(context.Background(), levelOf(tells, slog.LevelInfo), "dialling again at once", "reason", err)
	case wait == 0:
	case down:
		w.tellFailure(w.tellings.tellsLoss(&w.outage, reason(err), wasUp), "no session with the relay; trying again", err, wait)
	default:
		return func() {
			// If the others were lost meanwhile, that is all that is worth telling.
			if _, now := w.line.down(); now == times {
				w.tellFailure(w.tellings.tellsLoss(&k.outage, reason(err), wasUp), "lost a link to the relay, another one serves; trying again", err, wait)
			}
		}
	}
	return func() {}
}

// tellGiven says which names a link has now: at first that it is up, and with which.
func (s *session) tellGiven(given []*Listener) {
	w := s.w
	s.tellOpen(given)
	if !s.claimed && s.tellUp(given) {
		w.tellings.given(given)
		return
	}
	for _, l := range given {
		w.tellings.name(l, standing{given: true}, func() {
			w.d.log.Info("the relay gives one more name", "name", l.publicName(), "relay", s.r.relay)
		})
	}
}

// tellUp says that a link is up, and reports whether that was worth a line.
func (s *session) tellUp(given []*Listener) (told bool) {
	w, what := s.w, "another link is up"
	args := []any{"relay", w.name(), "address", s.r.link.RemoteAddr(), "name", namesOf(given)}
	if s.r.first {
		what = "session is up"
		if away := w.outage.ends(); away > 0 {
			args = append(args, "after", away.Round(time.Millisecond))
		}
	}
	told = w.tellings.tellsUp()
	w.d.log.Log(context.Background(), levelOf(told, slog.LevelInfo), what, args...)
	return told
}

// tellOpen says once that a relay is too old to keep rules for visitors.
func (s *session) tellOpen(given []*Listener) {
	ruled := slices.ContainsFunc(given, func(l *Listener) bool { _, r := l.currentRules(); return len(r.Allow)+len(r.Deny) > 0 })
	if ruled && s.r.welcome.Minor < rulesMinor && !s.w.told.Swap(true) {
		s.w.d.log.Warn("the relay is too old to refuse visitors by their addresses: this device does it alone", "relay", s.w.name())
	}
}

// rulesMinor is the first minor version of the protocol whose relays keep rules.
const rulesMinor = 2

// tellFailure logs a failed attempt: as a warning if it is worth one.
func (w *way) tellFailure(worth bool, what string, err error, wait time.Duration) {
	w.d.log.Log(context.Background(), levelOf(worth, slog.LevelWarn), what, "relay", w.name(), "err", err, "in", wait.Round(time.Millisecond),
		hint.Attr(hint.All(err)))
}

// levelOf is a level, or that of what is not worth a line.
func levelOf(worth bool, level slog.Level) slog.Level {
	if worth {
		return level
	}
	return slog.LevelDebug
}

// shownNames is how many names a line of the log has.
const shownNames = 8

// namesOf lists the names of listeners, for people.
func namesOf(list []*Listener) string {
	names := make([]string, 0, len(list))
	for _, l := range list {
		names = append(names, l.publicName())
	}
	slices.Sort(names)
	if more := len(names) - shownNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownNames], ", "), more)
	}
	return strings.Join(names, ", ")
}
