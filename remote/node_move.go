package remote

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"keystay/internal/placing"
)

const (
	// nodeTimeout is how long an attempt to reach one node may take, where others, or the
	// relay's own name, can be tried.
	nodeTimeout = 8 * time.Second
	// claimTime is how long a link to another node may take to get its names.
	claimTime = 30 * time.Second
	// moveRest is the least time between two moves. Each further one within calmTime has
	// to wait twice as long, up to maxMoveRest, so that a relay whose nodes come and go
	// all the time does not keep the device busy. One that is only for the better always
	// waits maxMoveRest after the one before.
	moveRest    = 5 * time.Second
	maxMoveRest = 10 * time.Minute
	calmTime    = time.Hour
	// firstBetter is the time over which the first move for the better is spread in the
	// first firstTime of a way: at its start the device does not know which nodes are near.
	firstBetter = time.Minute
	firstTime   = 5 * time.Minute
	// quickMeasures is how many nodes are measured with about measurePause between them;
	// from then on it is slowPause.
	quickMeasures = 10
	measurePause  = time.Second
	slowPause     = 5 * time.Minute
)

var (
	// errMovedOn is why a link ends in whose place another one has the names.
	errMovedOn = errors.New("another link to the relay has taken its place")
	// errOtherNode is why a node is left alone whose address leads to another one.
	errOtherNode = errors.New("another node answers there")
)

// A mover moves the links of a way between the nodes of its relay.
type mover struct {
	w        *way
	began    time.Time
	planned  placing.Move
	at       time.Time // when that is due; zero where nothing is planned
	moved    time.Time // when a link was last moved, or was to be
	moves    int       // one after the other, within calmTime
	measured int       // nodes so far
	next     time.Time // when one more may be measured
	quick    time.Time // when nodes were last measured one soon after the other, from the first on
}

// keepPlaces has the links of the way on the nodes that are best for them, until the way
// ends.
func (w *way) keepPlaces() {
	m := mover{w: w, began: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.nodes.changed:
		case <-timer.C:
		case <-w.ctx.Done():
			return
		}
		timer.Reset(m.step())
	}
}

// step does what is due, and returns after how long to look again, if nothing changes
// before.
func (m *mover) step() time.Duration {
	list, links := m.w.nodes.look()
	if len(list) < 2 || len(links) == 0 || !m.w.mayDialNodes(m.w.nodes.of()) {
		m.at = time.Time{}
		return time.Hour
	}
	now := time.Now()
	if m.w.nodes.isFresh() && now.Sub(m.quick) > m.w.d.paced(slowPause) {
		m.quick, m.measured, m.next = now, 0, now
	}
	name, unmeasured := placing.Measure(m.w.nodes.seed, list, links)
	m.plan(now, list, links, unmeasured)
	if !m.at.IsZero() && !m.at.After(now) && m.w.left.Load() < (m.w.partOfLeft()+1)/2 {
		m.at, m.moved = time.Time{}, now
		m.moves++
		m.move(m.planned)
		return m.w.d.paced(moveRest)
	}
	wait := time.Hour
	if unmeasured && !m.next.After(now) {
		m.measure(now, name)
		return m.next.Sub(now)
	}
	if unmeasured {
		wait = m.next.Sub(now)
	}
	if !m.at.IsZero() {
		wait = min(wait, max(m.at.Sub(now), m.w.d.paced(moveRest)/10))
	}
	return wait
}

// plan notes the move that is to be made, and when. One that is planned keeps its time as
// long as there is one to make for the same reason. None is made for the better while
// that may be seen otherwise once more is measured.
func (m *mover) plan(now time.Time, list []placing.Node, links []string, unmeasured bool) {
	if !m.moved.IsZero() && now.Sub(m.moved) > calmTime {
		m.moves = 0
	}
	move, ok := placing.Next(m.w.nodes.seed, list, links)
	if !ok || move.Why == placing.Better && unmeasured && m.measured < quickMeasures {
		m.at = time.Time{}
		return
	}
	if m.at.IsZero() || move.Why != m.planned.Why {
		within, rest := move.Why.Within(), min(maxMoveRest, moveRest<<min(m.moves, 10))
		switch {
		case move.Why == placing.Better && m.moves == 0 && now.Sub(m.began) < firstTime:
			within = firstBetter
		case move.Why == placing.Better:
			rest = maxMoveRest
		}
		m.at = now.Add(rand.N(max(1, m.w.d.paced(within))))
		if earliest := m.moved.Add(m.w.d.paced(rest)); m.moves > 0 && m.at.Before(earliest) {
			m.at = earliest
		}
	}
	m.planned = move
}

// measure measures the round trip to a node, if the relay is reached without a proxy.
func (m *mover) measure(now time.Time, name string) {
	w := m.w
	pause := slowPause
	if m.measured++; m.measured < quickMeasures {
		pause = measurePause
	}
	m.next = now.Add(w.d.paced(pause/2 + rand.N(pause)))
	relay, to, ok := w.nodes.find(name)
	if !ok || !w.direct(relay) {
		return
	}
	rtt, err := w.measureNode(w.ctx, relay, to)
	if err != nil {
		m.lost(name, err)
		return
	}
	w.nodes.measured(name, rtt)
}

// lost notes that a node was not reached. It is not the node's fault where no link is up.
func (m *mover) lost(name string, err error) {
	if down, _ := m.w.line.down(); !down {
		m.w.lostNode(name, err)
	}
}

// lostNode notes that a node was not reached, and the network is not at fault.
func (w *way) lostNode(name string, err error) {
	if w.ctx.Err() != nil {
		return
	}
	w.nodes.failed(name)
	level := slog.LevelDebug
	if w.nodes.tellsFirst() {
		level = slog.LevelInfo
	}
	w.d.log.Log(context.Background(), level, "a node of the relay is not reached at its own address; links go to other nodes, or by the relay's name",
		"relay", w.name(), "node", name, "err", err)
}

// A bid is a session that wants to take the place of another one.
type bid struct {
	names int // that it has
	next  <-chan outcome
	taken chan<- bool
}

// move dials a node, and lets the link there take the place of one on another node, which
// is left once the new one has its names. Whatever goes wrong before, the old one stays.
func (m *mover) move(mv placing.Move) {
	w := m.w
	old := w.sessionOn(mv.From)
	if old == nil {
		return
	}
	b, to, ok := w.nodes.reserve(mv.To)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, nodeTimeout)
	r, err := w.tryAt(ctx, old.r.relay, b, to)
	cancel()
	if err == nil && r.refused != nil {
		err = r.refused
	}
	if err != nil {
		b.leave()
		m.lost(mv.To, err)
		return
	}
	s := newSession(w, r)
	ended := make(chan outcome, 1)
	w.d.wg.Go(func() { ended <- s.run() })
	if err := s.takes(old, ended, mv.To); err != nil {
		s.r.report(errMovedOn)
		if errors.Is(err, errOtherNode) {
			m.lost(mv.To, err)
		}
		return
	}
	w.d.log.Info("a link has moved to another node of the relay", "relay", w.name(), "from", mv.From, "to", s.r.berth.where(), "reason", mv.Why.String())
}

// takes lets the session take the place of an old one, which then ends, if its link is on
// the node that was meant.
func (s *session) takes(old *session, ended <-chan outcome, node string) error {
	timer := time.NewTimer(claimTime)
	defer timer.Stop()
	names := 0
	select {
	case names = <-s.ready:
	case <-s.over:
		return net.ErrClosed
	case <-old.over:
		return net.ErrClosed
	case <-timer.C:
		return context.DeadlineExceeded
	}
	if s.r.berth.where() != node {
		return errOtherNode
	}
	taken := make(chan bool, 1)
	select {
	case old.bids <- bid{names, ended, taken}:
		if <-taken {
			return nil
		}
	case <-old.over:
	case <-s.over:
	}
	return net.ErrClosed
}

// sessionOn returns a session that has names on a link to a node, or nil.
func (w *way) sessionOn(node string) *session {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	for s := range w.sessions {
		if s.r.berth.where() == node {
			return s
		}
	}
	return nil
}

// paced is how long what is to take t takes: tests do not wait as long.
func (d *Device) paced(t time.Duration) time.Duration { return t / time.Duration(max(1, d.haste)) }
