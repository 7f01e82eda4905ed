//go:build linux

package main

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"keystay/e2e/bench/internal/result"
	"keystay/e2e/bench/internal/site"
)

// scale measures what the relay needs with ever more of one thing, so that a line
// can be laid through it. Each thing has a relay of its own, and names in the
// record one for each size, since a relay reads them as it starts.
func (b *bench) scale() error {
	if !b.has("scale") {
		return nil
	}
	limit, err := descriptors()
	if err != nil {
		return err
	}
	limit -= 500
	p := b.plan
	if b.wants(session) {
		if err := b.scaleNames(sizes(p.names)); err != nil {
			return fmt.Errorf("scale, names: %w", err)
		}
		if err := b.scaleLinks(sizes(b.fit("scale, idle links", p.idleLinks, limit))); err != nil {
			return fmt.Errorf("scale, links: %w", err)
		}
	}
	most := map[string]int{session: b.fit("scale, idle visitors", p.scaleVisitors, limit), lanes: min(p.idleOnLanes, limit/2)}
	for _, what := range []string{session, lanes} {
		if !b.wants(what) {
			continue
		}
		if err := b.scaleVisitors(what, sizes(most[what])); err != nil {
			return fmt.Errorf("scale, visitors of %s: %w", what, err)
		}
		if err := b.scaleWork(what); err != nil {
			return fmt.Errorf("scale, work of %s: %w", what, err)
		}
	}
	return nil
}

// leastSizes is how many sizes a line is laid through, at the least.
const leastSizes = 4

// sizes are numbers from 10 to most, each so many times the one before: ten times
// where that makes enough of them.
func sizes(most int) []int {
	decades := math.Log10(float64(most)) - 1
	steps := max(leastSizes-1, int(math.Round(decades)))
	all := make([]int, 0, steps+1)
	for i := range steps + 1 {
		all = append(all, int(math.Round(10*math.Pow(10, decades*float64(i)/float64(steps)))))
	}
	return all
}

// grown keeps what so many of a thing need.
func (b *bench) grown(s *subject, what string, n int, m result.Measurement) error {
	if dead := s.err(); dead != nil {
		return dead
	}
	m.Test, m.Subject, m.Link, m.Round, m.Case, m.Size = "scale", s.name, s.place.link, 1, what, n
	return b.note(m)
}

// mib is bytes in MiB.
func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// scaleNames measures relays that know many names, each after its start.
func (b *bench) scaleNames(sizes []int) error {
	for _, n := range sizes {
		if err := b.scaleRecord(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) scaleRecord(n int) error {
	s, err := b.startKnowing(relayAlone, n)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.pause(b.plan.idleSettle); err != nil {
		return err
	}
	u, err := held(s)
	if err != nil {
		return err
	}
	return b.grown(s, "names", n, result.Measurement{Memory: mib(u.memory), Spent: u.cpu.Seconds()})
}

// scaleLinks adds idle links to a relay.
func (b *bench) scaleLinks(sizes []int) error {
	s, err := b.start(session, loopback())
	if err != nil {
		return err
	}
	defer s.stop()
	n := 0
	for _, size := range sizes {
		if _, err := b.role(s, nil, "crowd", role{Relay: s.door.Address, First: n, Count: size - n}); err != nil {
			return err
		}
		n = size
		if err := s.pause(b.plan.idleSettle); err != nil {
			return err
		}
		began, err := held(s)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := s.pause(b.plan.idleTime); err != nil {
			return err
		}
		u, err := held(s)
		if err != nil {
			return err
		}
		m := result.Measurement{Memory: mib(u.memory), IdleCPU: 100 * (u.cpu - began.cpu).Seconds() / time.Since(start).Seconds()}
		if err := b.grown(s, "links", n, m); err != nil {
			return err
		}
	}
	return nil
}

// scaleVisitors adds idle visitors to a relay, all of one site.
func (b *bench) scaleVisitors(what string, sizes []int) error {
	s, err := b.start(what, loopback())
	if err != nil {
		return err
	}
	defer s.stop()
	size, every := b.visitorNeeds(what)
	all := make(chan *site.Visitor, sizes[len(sizes)-1])
	defer leave(all)
	n := 0
	for _, wanted := range sizes {
		if err := visitOnceEach(s, wanted-n, size, every, all); err != nil {
			return err
		}
		n = wanted
		if err := s.pause(b.plan.idleGiven); err != nil {
			return err
		}
		u, err := held(s)
		if err != nil {
			return err
		}
		if err := b.grown(s, "visitors", n, result.Measurement{Memory: mib(u.memory)}); err != nil {
			return err
		}
	}
	return nil
}

// scaleWork has a relay do ever more of one thing: downloads, and on a session
// connections and requests, which are the same with lanes.
func (b *bench) scaleWork(what string) error {
	s, err := b.start(what, loopback())
	if err != nil {
		return err
	}
	defer s.stop()
	p := b.plan
	for _, w := range []struct {
		what string
		most int
		do   func(s *subject, n int) error
	}{
		{"connections", p.scaleConnections, func(s *subject, n int) error {
			return shared(8, n, func(share func() bool) error { return visitEach(s, share) })
		}},
		{"requests", p.scaleRequests, func(s *subject, n int) error {
			return shared(4, n, func(share func() bool) error { return askEach(s, share) })
		}},
		{"mib", p.scaleMiB, download},
	} {
		if what != session && w.what != "mib" {
			continue
		}
		if err := visitOnce(s); err != nil {
			return err
		}
		for _, n := range sizes(w.most) {
			spent, err := spentOn(s, p.settle, func() error { return w.do(s, n) })
			if err != nil {
				return err
			}
			if err := b.grown(s, w.what, n, result.Measurement{Spent: spent.Seconds()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// spentOn is the relay's processor time for something, and for what it has to do
// after it.
func spentOn(s *subject, settle time.Duration, do func() error) (time.Duration, error) {
	before, err := s.relay.CPU()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	if err := s.pause(settle); err != nil {
		return 0, err
	}
	after, err := s.relay.CPU()
	return after - before, err
}

// shared runs f flows times at once. All of them share n turns, which share gives
// out.
func shared(flows, n int, f func(share func() bool) error) error {
	var taken atomic.Int64
	return each(flows, func() error { return f(func() bool { return taken.Add(1) <= int64(n) }) })
}

// visitEach makes a connection with one request for each turn.
func visitEach(s *subject, share func() bool) error {
	for share() {
		if err := visitOnce(s); err != nil {
			return err
		}
	}
	return nil
}

// askEach makes a request on one connection for each turn.
func askEach(s *subject, share func() bool) error {
	v, err := s.door.Open()
	if err != nil {
		return err
	}
	defer v.Close()
	for share() {
		if err := v.Get(smallSize); err != nil {
			return err
		}
	}
	return nil
}

// download downloads n MiB on one connection.
func download(s *subject, n int) error {
	v, err := s.door.Open()
	if err != nil {
		return err
	}
	defer v.Close()
	const most = 64 // of one answer, for which a visitor does not wait forever
	for ; n > 0; n -= most {
		if err := v.Get(int64(min(n, most)) << 20); err != nil {
			return err
		}
	}
	return nil
}
