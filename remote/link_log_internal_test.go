package remote

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/framing"
)

// comesAndGoes has a link come up and go so often.
func comesAndGoes(t *testing.T, w *loggedWay, k *linker, times int, why func(i int) error) {
	t.Helper()
	l := w.listener("a.relay.test")
	link, _ := connected(t, framing.Handler{})
	for i := range times {
		s := newSession(w.way, &reached{relay: "relay.test", link: link})
		s.r.first = w.line.rise()
		s.tellGiven([]*Listener{l})
		time.Sleep(time.Second)
		w.line.fall()
		k.pause(time.Second, why(i))
	}
}

// moves says each time in other words that a relay goes away.
func moves(i int) error {
	if i%2 == 0 {
		return errMoved
	}
	return fmt.Errorf("%w: %s", errDraining, strings.Repeat("x", i))
}

// Links that come and go, of a relay that says each time that it goes away, fill no log, and its
// last word is true soon.
func TestLinksThatComeAndGoFillNoLog(t *testing.T) {
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprintf("beside %d", others), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *loggedWay) {
				for range others {
					w.line.rise()
				}
				k := &linker{way: w.way}
				began := time.Now()
				comesAndGoes(t, w, k, 1000, moves)
				most := 2 * (lineBurst + int(time.Since(began)/lineInterval) + 1)
				if n, _ := w.lines(); n < lineBurst || n > most {
					t.Errorf("%d lines in %v, want %d at most", n, time.Since(began), most)
				}
			})
		})
	}
}

// Also of the relay as a whole the log's last word is true soon.
func TestLogsLastWordOfARelayIsTrue(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		k := &linker{way: w.way}
		comesAndGoes(t, w, k, 200, moves)
		for range 100 { // the relay is away
			k.pause(0, errors.New("refused"))
		}
		if _, last := w.lines(); !strings.Contains(last, "no session with the relay") {
			t.Errorf("it is away, and the last word is %s", last)
		}
		// It is back, and takes its names back for an hour.
		comesAndGoes(t, w, k, 1, func(int) error {
			if _, last := w.lines(); !strings.Contains(last, "session is up") {
				t.Errorf("it is back, and the last word is %s", last)
			}
			return errMoved
		})
		comesAndGoes(t, w, k, 200, moves)
		began := time.Now()
		comesAndGoes(t, w, k, 1, func(int) error { return &framing.Denial{Code: framing.DeniedLimit, Text: "no", Retry: time.Hour} })
		if _, last := w.lines(); time.Since(began) < time.Hour || !strings.Contains(last, "no session with the relay") {
			t.Errorf("after %v the last word is %s", time.Since(began), last)
		}
	})
}

// A relay that is reached by TLS and by a WebSocket in turn fills no log, whose last word of it is
// true soon.
func TestTransportsInTurnFillNoLog(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		w.d.transports.auto = true
		usual := func() { w.tellWay("relay.test", TransportTLS, false, nil) }
		web := func() { w.tellWay("relay.test", TransportWSS, false, errors.New("reset")) }
		if usual(); w.log.Len() > 0 {
			t.Errorf("at first it is told: %s", &w.log)
		}
		inTurn := func(times int, end func(), want string) {
			t.Helper()
			for range times {
				web()
				time.Sleep(time.Second)
				usual()
				time.Sleep(time.Second)
			}
			end()
			time.Sleep(toldInterval)
			if _, last := w.lines(); !strings.Contains(last, want) {
				t.Errorf("after %d turns the last word is %s, want %s", times, last, want)
			}
		}
		inTurn(1, web, "only a WebSocket")
		inTurn(200, usual, "as usual again")
		inTurn(200, web, "only a WebSocket")
		inTurn(0, web, "only a WebSocket")
		n, _ := w.lines()
		if n > toldBurst+6 {
			t.Errorf("%d lines", n)
		}
	})
}

// A relay has a device claim names whenever it likes. What is wrong with the state directory is
// told once of all these claims, and now and then that it lasts.
func TestClaimsWithABadStateDirectoryFillNoLog(t *testing.T) {
	bubble(t, func(t *testing.T, w *loggedWay) {
		dir, s := rotatedState(t)
		if err := KeepToken(dir, "relay.test", "x"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(tokenFile("relay.test")), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(s.path("lock")), os.Mkdir(s.path("lock"), 0o700)); err != nil {
			t.Fatal(err)
		}
		w.d.state = s
		l := w.listener("a.relay.test")
		for range 1000 {
			w.token("relay.test", l)
			w.d.noteHeard("relay.test", handoverMinor, s.keys.public())
			time.Sleep(time.Second)
		}
		for _, text := range []string{"the claim goes without a token", "cannot keep that the relay has heard"} {
			if n := strings.Count(w.log.String(), text); n < 2 || n > 6 {
				t.Errorf("%d lines in %d s: %s", n, 1000, text)
			}
		}
	})
}
