//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"

	"keystay/e2e/bench/internal/result"
	"keystay/e2e/bench/internal/site"
)

// idle measures what links and visitors cost on which nothing happens, each on
// processes that have done nothing else.
func (b *bench) idle() error {
	limit, err := descriptors()
	if err != nil {
		return err
	}
	if b.has("idle_remote") && b.wants(session) {
		// Each takes a descriptor in the relay and one in the crowd.
		links := b.fit("idle links", b.plan.idleLinks, limit-500)
		if err := b.idleLinks(links); err != nil {
			return fmt.Errorf("idle_remote: %w", err)
		}
	}
	if !b.has("idle_visitor") {
		return nil
	}
	// Each takes a descriptor here, and with some subjects six in between.
	visitors := b.fit("idle visitors", b.plan.idleVisitors, limit-500)
	for _, what := range b.subjects {
		if what == direct || what == haproxyPipes {
			continue
		}
		n := visitors
		if what == tcpProxy {
			n = min(n, (limit-500)/6)
		}
		if err := b.idleVisitors(what, n); err != nil {
			return fmt.Errorf("idle_visitor of %s: %w", what, err)
		}
	}
	return nil
}

// fit lowers a number to what the limit on descriptors allows, and says so.
func (b *bench) fit(what string, n, most int) int {
	if n > most {
		b.skip(what, fmt.Errorf("%d instead of %d: the limit of descriptors (ulimit -n) allows no more", most, n))
	}
	return min(n, most)
}

// A use is what a process holds at one time.
type use struct {
	memory int64
	fds    int
	cpu    time.Duration
}

func held(s *subject) (u use, err error) {
	var errs [3]error
	u.memory, errs[0] = s.relay.Resident()
	u.fds, errs[1] = s.relay.Descriptors()
	u.cpu, errs[2] = s.relay.CPU()
	return u, errors.Join(errs[:]...)
}

// idleLinks links many remotes to a relay.
func (b *bench) idleLinks(n int) error {
	s, err := b.start(session, loopback())
	if err != nil {
		return err
	}
	defer s.stop()
	if err := visitOnce(s); err != nil {
		return err
	}
	if err := s.pause(b.plan.idleSettle); err != nil {
		return err
	}
	before, err := held(s)
	if err != nil {
		return err
	}
	if _, err := b.role(s, nil, "crowd", role{Relay: s.door.Address, Count: n}); err != nil {
		return err
	}
	if err := s.pause(b.plan.idleSettle); err != nil {
		return err
	}
	begin, err := held(s)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.pause(b.plan.idleTime); err != nil {
		return err
	}
	end, err := held(s)
	took := time.Since(start)
	if err == nil {
		err = s.err() // a link that was lost ends the crowd
	}
	if err != nil {
		return err
	}
	m := result.Measurement{Test: "idle_remote", Subject: session, Link: "loopback", Round: 1, Each: n,
		RSS: perEach(end.memory-before.memory, n), FDs: float64(end.fds-before.fds) / float64(n),
		IdleCPU: 100 * (end.cpu - begin.cpu).Seconds() / took.Seconds()}
	return b.note(m)
}

// perEach is KiB for each of n.
func perEach(bytes int64, n int) float64 { return float64(bytes) / 1024 / float64(n) }

// visitorsAtOnce is how many visitors of a crowd come at once.
const visitorsAtOnce = 16

// laneEvery is how often a visitor comes that is to move to a lane: a remote
// opens a dozen at once on each of its links, and does not try again later.
const laneEvery = 20 * time.Millisecond

// idleVisitors has many visitors of one site do nothing after one request. With
// lanes the request is large enough, and the visitors slow enough to come, that
// each has moved to a lane. What one of them costs is told from what those cost that
// come after the first fifth: so it has no part of what a process needs only once for
// all of them.
func (b *bench) idleVisitors(what string, n int) error {
	s, err := b.start(what, loopback())
	if err != nil {
		return err
	}
	defer s.stop()
	size, every := b.visitorNeeds(what)
	if what == lanes {
		n = min(n, b.plan.idleOnLanes)
	}
	if err := visitOnce(s); err != nil {
		return err
	}
	if err := s.pause(b.plan.idleSettle); err != nil {
		return err
	}
	all := make(chan *site.Visitor, n)
	defer leave(all)
	first := n / 5
	if err := visitOnceEach(s, first, size, every, all); err != nil {
		return err
	}
	if err := s.pause(b.plan.idleGiven); err != nil {
		return err
	}
	before, err := held(s)
	if err != nil {
		return err
	}
	if err := visitOnceEach(s, n-first, size, every, all); err != nil {
		return err
	}
	if err := s.pause(b.plan.idleGiven); err != nil {
		return err
	}
	after, err := held(s)
	if err == nil {
		err = s.err()
	}
	if err != nil {
		return err
	}
	return b.note(result.Measurement{Test: "idle_visitor", Subject: what, Link: "loopback", Round: 1, Each: n,
		RSS: perEach(after.memory-before.memory, n-first), FDs: float64(after.fds-before.fds) / float64(n-first)})
}

// visitorNeeds says how large the request of an idle visitor is, and how often one
// may come, so that with lanes each has moved to one.
func (b *bench) visitorNeeds(what string) (size int64, every time.Duration) {
	if what == lanes {
		return b.plan.laneBytes, laneEvery
	}
	return smallSize, 0
}

// leave has all visitors go.
func leave(all chan *site.Visitor) {
	close(all)
	for v := range all {
		v.Close()
	}
}

// visitOnceEach has n visitors make one request each, one visitor every so
// often, and stay: it gives them to all.
func visitOnceEach(s *subject, n int, size int64, every time.Duration, all chan<- *site.Visitor) error {
	due := make(chan struct{}, n)
	go func() {
		defer close(due)
		for range n {
			due <- struct{}{}
			if every > 0 {
				<-time.After(every)
			}
		}
	}()
	return each(visitorsAtOnce, func() error {
		for range due {
			v, err := s.door.Open()
			if err != nil {
				return err
			}
			all <- v
			if err := v.Get(size); err != nil {
				return err
			}
			v.Rest()
		}
		return nil
	})
}
