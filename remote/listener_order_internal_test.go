package remote

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// However many names of a device wait for their turns, a relay never takes the questions
// for a flood.
func TestTurnsAreAskedForOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pace turnPace
		var asked atomic.Int32
		const names = 300
		for range names { // as when a link comes up
			go func() {
				if err := pace.wait(t.Context()); err != nil {
					t.Error(err)
				}
				asked.Add(1)
			}()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := asked.Load(); n < 20 || n > 21 {
			t.Errorf("%d questions in 10 s", n)
		}
		time.Sleep(names * turnStep)
		synctest.Wait()
		if n := asked.Load(); n != names {
			t.Errorf("%d of %d names are asked for", n, names)
		}
	})
}

// Where there is no link, as while a node starts again, there is no turn.
func TestNoLinkGivesNoTurn(t *testing.T) {
	l := newListener(&Device{ctx: t.Context(), late: t.Context()}, Name{}, "a.relay.test", served{})
	if l.turn.take(t.Context()) {
		t.Error("a turn that no relay has given")
	}
	if l.turn.mine {
		t.Error("it asks for a turn at links that come up")
	}
}

// A relay whose links come up and are lost again and again, or that takes a name away and
// gives it again, takes no turns away at other relays.
func TestLinksThatFlapHoldUpNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &Device{ctx: ctx, late: ctx}
		l := newListener(d, Name{}, "a.relay.test", served{})
		l.turn.mine = true
		for range 20 {
			link, _ := connected(t, framing.Handler{}) // to a relay that knows of no turns
			for range 20 {
				l.linkUp(link, framing.Claimed{})
				l.links.remove(link)
			}
			l.linkUp(link, framing.Claimed{})
			link.Close()
			synctest.Wait()
			l.links.remove(link)
		}
		began := time.Now()
		if err := d.orders.turns.wait(ctx); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 2*turnStep {
			t.Errorf("a turn can be asked for after %v", waited)
		}
		cancel()
	})
}

// A turn ends with its order, whatever became of that: also where another process on the
// same folder has been faster.
func TestTurnEndsWithItsOrder(t *testing.T) {
	for kind, ends := range map[acme.EventKind]bool{
		acme.Loaded: true, acme.Waiting: false, acme.Ordering: false, acme.Obtained: true, acme.Failed: true, acme.Held: true,
	} {
		l := newListener(&Device{ctx: t.Context(), late: t.Context()}, Name{}, "a.relay.test", served{})
		l.turn.begin()
		l.noteOrder(acme.Event{Kind: kind})
		if l.turn.mine == ends {
			t.Errorf("after %v the turn is its own: %v", kind, l.turn.mine)
		}
	}
}

// A relay that gives a name and takes it back, each second, and answers the rehearsal in the
// device's place, has the device try no order more often, but for a few; the first one after a
// link has come up is at once.
func TestARelayThatGivesAndTakesANameHasNoOrdersTriedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var dials atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		s, err := openState(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		d := &Device{ctx: ctx, late: ctx, state: s, log: slog.New(slog.NewTextHandler(&log, nil)), listeners: make(map[string]*Listener)}
		d.orders.d = d
		d.cfg.ACME = acme.Config{CA: "https://ca.test/", NoHTTP01: true, Rehearsal: &acme.Rehearsal{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
			},
			Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
				dials.Add(1)
				near, far := net.Pipe()
				far.Close()
				return near, nil
			},
		}}
		l := newListener(d, Name{}, "a.relay.test", served{})
		d.listeners[l.domain] = l
		if err := l.openCertificate(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		link, _ := connected(t, framing.Handler{})
		l.linkUp(link, framing.Claimed{})
		synctest.Wait()
		if dials.Load() == 0 {
			t.Error("the first order is not tried as soon as a link has the name")
		}
		for range 3600 {
			l.links.remove(link)
			l.linkUp(link, framing.Claimed{})
			time.Sleep(time.Second)
		}
		if n := dials.Load(); n > 24 {
			t.Errorf("%d connections in an hour", n)
		}
		if n := strings.Count(log.String(), "\n"); n > 24 {
			t.Errorf("%d lines in an hour, the last is %s", n, log.String()[strings.LastIndexByte(strings.TrimSpace(log.String()), '\n')+1:])
		}
		cancel()
		d.orders.close()
		d.wg.Wait()
	})
}

// A relay that gives a replica no turn has the log told that once for each order, and not often
// where it has orders end and begin again and again.
func TestATurnThatDoesNotComeIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		d := &Device{ctx: ctx, late: ctx, log: slog.New(slog.NewTextHandler(&log, nil))}
		l := newListener(d, Name{Raw: true}, "a.relay.test", served{})
		link, _ := connected(t, framing.Handler{Order: func(string, bool) bool { return false }})
		l.links.add(link, time.Time{})
		lines := func() int {
			synctest.Wait()
			return strings.Count(log.String(), "another replica orders its certificate first")
		}
		await := func(d time.Duration) {
			short, end := context.WithTimeout(ctx, d)
			defer end()
			_ = l.turn.await(short)
		}
		await(turnPatience)
		await(turnPatience) // of the same order
		if n := lines(); n != 1 {
			t.Errorf("%d lines of one order", n)
		}
		l.noteOrder(acme.Event{Kind: acme.Failed})
		await(turnPatience)
		if n := lines(); n != 2 {
			t.Errorf("%d lines of two orders", n)
		}
		for range 1000 {
			await(time.Second)
			l.noteOrder(acme.Event{Kind: acme.Held})
		}
		if n := lines(); n > 2+toldBurst+3 {
			t.Errorf("%d lines", n)
		}
		cancel()
		d.wg.Wait()
	})
}
