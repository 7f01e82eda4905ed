//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/result"
	"keystay/e2e/internal/link"
)

const (
	wanDelay = 20 * time.Millisecond // one way, of the long links
	wanRate  = 500_000_000
	// wanQueue is what the links hold at wanRate for 40 ms: one
	// bandwidth-delay product.
	wanQueue = wanRate / 8 / 25
)

// A wan is three namespaces, for visitors, relay and remote, and links between
// all of them: 40 ms there and back between the ends, half of it to the relay.
type wan struct {
	spaces  [3]*link.Space
	cables  []*link.Cable
	carrier *child.Process
	part    *subject // that the carrier is a part of
}

// The namespaces of a wan.
const (
	atVisitor = iota
	atRelay
	atRemote
)

// addressOf is the address of a namespace on its link with another one.
func addressOf(at, other int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(at + other), byte(at + 1)})
}

func (b *bench) newWAN() (w *wan, err error) {
	w = &wan{part: &subject{name: "link"}}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for i := range w.spaces {
		if w.spaces[i], err = link.NewSpace(); err != nil {
			return nil, err
		}
		// What an earlier connection learned must not help or hinder the next.
		if err = w.spaces[i].Set("ipv4/tcp_no_metrics_save", "1"); err != nil {
			return nil, err
		}
	}
	var files []*os.File
	var setups []link.Setup
	for _, l := range []struct {
		a, b  int
		delay time.Duration
	}{{atVisitor, atRemote, wanDelay}, {atVisitor, atRelay, wanDelay / 2}, {atRelay, atRemote, wanDelay / 2}} {
		s := link.Setup{Delay: l.delay, Rate: wanRate, Queue: wanQueue, Seed: uint64(len(setups) + 1)}
		c, err := link.Connect(w.spaces[l.a], w.spaces[l.b], "ks"+strconv.Itoa(len(setups)), addressOf(l.a, l.b), addressOf(l.b, l.a), s)
		if err != nil {
			return nil, err
		}
		w.cables = append(w.cables, c)
		files, setups = append(files, c.Files()...), append(setups, s)
	}
	w.carrier, err = b.role(w.part, nil, "link", role{Links: setups}, files...)
	return w, err
}

func (w *wan) close() {
	w.part.stop()
	for _, c := range w.cables {
		c.Close()
	}
	for _, s := range w.spaces {
		s.Close()
	}
}

// place puts the relay to the visitors, to the remote or between them.
func (w *wan) place(where string) place {
	relay := map[string]int{"relay-remote": atVisitor, "visitor-relay": atRemote, "both": atRelay, "": atRelay}[where]
	reach := func(from, to int) string {
		if from == to {
			return "127.0.0.1"
		}
		return addressOf(to, from).String()
	}
	return place{link: "wan", where: where, listen: "0.0.0.0",
		visitor: w.spaces[atVisitor], relay: w.spaces[relay], remote: w.spaces[atRemote],
		visitorToRelay: reach(atVisitor, relay), remoteToRelay: reach(atRemote, relay),
		relayToRemote: reach(relay, atRemote), directHost: reach(atVisitor, atRemote)}
}

// set sets what all new connections and all links are like from now on.
func (w *wan) set(congestion string, loss float64) error {
	for _, s := range w.spaces {
		if err := s.Set("ipv4/tcp_congestion_control", congestion); err != nil {
			return fmt.Errorf("%s: %w", congestion, err)
		}
	}
	return w.carrier.Tell(strconv.FormatFloat(loss, 'f', -1, 64))
}

// wanTests are the columns of the table that are wanted, in groups that share
// their connections.
func (b *bench) wanTests() []wanTest {
	p := b.plan
	fetch := func(s *subject) (result.Measurement, error) { return fetches(s, p.fetches) }
	idle := func(s *subject) (result.Measurement, error) {
		<-time.After(p.wanIdle)
		return fetch(s)
	}
	beside := func(s *subject) (result.Measurement, error) {
		return fetchesBeside(s, p.fetches, p.wanQuiet, p.wanSettle)
	}
	down := func(s *subject) (result.Measurement, error) { return bulk(s, false, 8, p.wanWarm, p.wanWindow) }
	small := func(s *subject) (result.Measurement, error) { return busy(s, 16, p.wanWarm, p.wanWindow) }
	all := []wanTest{{"bbr", 0, test{"fetch", idle}}, {"bbr", 0, test{"beside", beside}}, {"bbr", 1, test{"down", down}}, {"reno", 0.1, test{"busy", small}}}
	if p.wanAll {
		all = []wanTest{
			{"bbr", 0, test{"fetch", idle}}, {"bbr", 0, test{"beside", beside}}, {"bbr", 0, test{"down", down}},
			{"bbr", 0.1, test{"fetch", fetch}},
			{"bbr", 1, test{"fetch", fetch}}, {"bbr", 1, test{"down", down}},
			{"reno", 0.1, test{"busy", small}},
		}
	}
	return slices.DeleteFunc(all, func(t wanTest) bool { return !b.has("wan_" + t.name) })
}

type wanTest struct {
	congestion string
	loss       float64
	test
}

// wan measures over a slow and lossy link. Direct has one way only; the others
// have the delay between relay and remote, between visitor and relay, or half
// of it on each side.
func (b *bench) wan() error {
	if len(b.wanTests()) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		b.skip("wan", errors.New("needs root, for network namespaces"))
		return nil
	}
	w, err := b.newWAN()
	if err != nil {
		b.skip("wan", err)
		return nil
	}
	defer w.close()
	places := []string{"", "relay-remote"}
	if b.plan.wanAll {
		places = append(places, "visitor-relay", "both")
	}
	for round := 1; round <= b.plan.wanRounds; round++ {
		b.say("# wan, round %d of %d, after %v", round, b.plan.wanRounds, time.Since(b.began).Round(time.Second))
		for _, where := range places {
			for _, what := range []string{direct, session, lanes} {
				if !b.wants(what) || (what == direct) != (where == "") {
					continue
				}
				if err := b.wanSubject(w, what, where, round); err != nil {
					return fmt.Errorf("wan, %s, %s: %w", what, where, err)
				}
			}
		}
	}
	return nil
}

// wanSubject does all tests of one subject at one place. It is started anew for
// each algorithm, so that its own connections have it too.
func (b *bench) wanSubject(w *wan, what, where string, round int) (err error) {
	var s *subject
	stop := func() {
		if s != nil {
			s.stop()
		}
		s = nil
	}
	defer func() { stop() }()
	congestion := ""
	for _, t := range b.wanTests() {
		if !link.HasCongestionControl(t.congestion) {
			b.skipOnce("wan with "+t.congestion, errors.New("this kernel has no such congestion control"))
			continue
		}
		if t.congestion != congestion {
			stop()
			if err := w.set(t.congestion, 0); err != nil {
				return err
			}
			if s, err = b.start(what, w.place(where)); err != nil {
				return err
			}
			congestion = t.congestion
		}
		if err := w.set(t.congestion, t.loss); err != nil {
			return err
		}
		with := func(s *subject) (m result.Measurement, err error) {
			m, err = t.run(s)
			m.Congestion, m.Loss = t.congestion, t.loss
			if dead := w.carrier.Err(); dead != nil {
				err = dead
			}
			return m, err
		}
		if err := b.measure(test{t.name, with}, s, round); err != nil {
			return err
		}
	}
	return nil
}

// skipOnce is skip for what may be found out several times.
func (b *bench) skipOnce(what string, why error) {
	if !slices.Contains(b.skipped, skipped(what, why)) {
		b.skip(what, why)
	}
}

// fetchSize is what is fetched on a fresh connection.
const fetchSize = 1 << 20

// fetchesBeside is fetches beside visitors that have made a small request and are
// quiet.
func fetchesBeside(s *subject, n, quiet int, settle time.Duration) (m result.Measurement, err error) {
	for range quiet {
		v, err := s.door.Open()
		if err != nil {
			return m, err
		}
		defer v.Close()
		if err := v.Get(smallSize); err != nil {
			return m, err
		}
		v.Rest()
	}
	<-time.After(settle)
	m, err = fetches(s, n)
	m.Test, m.Flows = "beside", quiet
	return m, err
}

// fetches measures downloads of 1 MB, one after the other, each on a new
// connection, from dialling to the last byte. The first one is told apart.
func fetches(s *subject, n int) (m result.Measurement, err error) {
	m = result.Measurement{Test: "fetch", Flows: 1}
	all := make([]time.Duration, 0, n)
	for i := range n + 1 {
		start := time.Now()
		v, err := s.door.Open()
		if err != nil {
			return m, err
		}
		err = v.Get(fetchSize)
		took := time.Since(start)
		v.Close()
		if err != nil {
			return m, err
		}
		if i == 0 {
			m.First = float64(took.Microseconds())
			continue
		}
		all = append(all, took)
	}
	m.Latencies(all)
	return m, nil
}
