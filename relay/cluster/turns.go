package cluster

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay"
)

const (
	// orderTimeout is how long another node may take to say whose turn it is.
	orderTimeout = time.Second
	// maxTurns is how many turns are known at once, and maxMadeTurns how many of names
	// that are made from keys, which anybody has by the thousand. Beyond them nobody gets
	// one.
	maxTurns, maxMadeTurns = 1 << 16, 1 << 15
	// manyTurns is from how many on those of runs that have the name no more are forgotten
	// before their time. Below it they stay, since such a run may be about to come back.
	manyTurns = maxMadeTurns / 2
	// turnsFirst is how many of the turns that are known a node that has just connected is
	// told at once, and turnsStep how many more each second: some thousand are within
	// otherBurst and otherRate, and all that there may be are not.
	turnsFirst, turnsStep = 8000, 1500
	// decideRate is how many turns a node decides in a second beyond decideBurst, for itself
	// and for all others together: it tells all of them of each. And of so many it tells
	// that they have ended, since those of ten minutes may end at once.
	decideRate, decideBurst = 1000, 4000
)

// A turn is whose turn it is to order a certificate for a name.
type turn struct {
	run   framing.Run
	until time.Time
}

// turns are those that a node knows of, and the questions for one that it has asked. The
// zero value is ready.
type turns struct {
	mu    sync.Mutex
	known map[string]turn
	made  int   // of names that are made from keys
	told  meter // of those that this node has begun
	ended meter // of those that this node says have ended
	asked map[uint32]chan bool
	last  uint32 // of asked
}

// ask makes a question, whose answer comes once. End forgets it.
func (s *turns) ask() (id uint32, answer chan bool, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = make(map[uint32]chan bool)
	}
	s.last++
	id, answer = s.last, make(chan bool, 1)
	s.asked[id] = answer
	return id, answer, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asked, id)
	}
}

// hearAnswer is the answer to a question of this node's.
func (s *turns) hearAnswer(body []byte) error {
	id, granted, err := parseAnswer(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	answer := s.asked[id]
	delete(s.asked, id)
	s.mu.Unlock()
	if answer != nil { // nobody waits any more, if it is late
		answer <- granted
	}
	return nil
}

// of returns whose turn it is for a name.
func (s *turns) of(name string) (t turn, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok = s.known[name]
	return t, ok && time.Now().Before(t.until)
}

// decide begins or ends a turn of a run, unless it is another one's that has the name.
// Changed reports whether there is anything to tell of it.
func (s *turns) decide(name string, run framing.Run, begins bool, has func(framing.Run) bool) (t turn, granted, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t, ok := s.known[name]
	switch ok = ok && now.Before(t.until); {
	case ok && t.run != run && has(t.run):
		return t, false, false
	case !begins && !(ok && t.run == run), begins && !ok && !s.hasRoomLocked(name):
		return t, !begins, false
	case begins && !mayTell(&s.told):
		return t, false, false
	case !begins && !mayTell(&s.ended): // it lasts until its time is over
		return t, true, false
	case begins:
		t = turn{run, now.Add(framing.OrderTime)}
		s.putLocked(name, t)
	default:
		t = turn{run: run}
		s.dropLocked(name)
	}
	return t, true, true
}

// mayTell reports whether others may be told of one more turn, and counts it.
func mayTell(m *meter) bool {
	if m.rate == 0 {
		*m = meter{rate: decideRate, burst: decideBurst}
	}
	return m.has() >= 1 && m.take(1)
}

// giveBack ends the turn of a run here, and reports whether the node that decides is to be
// told: it is not where there is none, or where too many end at once. Such a one lasts
// until its time is over.
func (s *turns) giveBack(name string, run framing.Run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.known[name]; !ok || t.run != run || !mayTell(&s.ended) {
		return false
	}
	s.dropLocked(name)
	return true
}

// hear takes up what another node has decided; with nothing left the turn is over. It reports
// false where that is an end of a turn which another run has by now: two nodes may have
// decided, of which one does not know yet that the other does.
func (s *turns) hear(name string, run framing.Run, left time.Duration) (t turn, ok bool) {
	t = turn{run: run}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch has, known := s.known[name]; {
	case left == 0 && known && has.run != run:
		return has, false
	case left == 0:
		s.dropLocked(name)
	case s.hasRoomLocked(name):
		t.until = time.Now().Add(left)
		s.putLocked(name, t)
	}
	return t, true
}

// isMade reports whether a name looks as if it was made from a key.
func isMade(name string) bool {
	label, _, _ := strings.Cut(name, ".")
	return keyname.Is(label)
}

// hasRoomLocked reports whether a name's turn is known, or can be.
func (s *turns) hasRoomLocked(name string) bool {
	_, known := s.known[name]
	return known || len(s.known) < maxTurns && (!isMade(name) || s.made < maxMadeTurns)
}

func (s *turns) putLocked(name string, t turn) {
	if s.known == nil {
		s.known = make(map[string]turn)
	}
	if _, known := s.known[name]; !known && isMade(name) {
		s.made++
	}
	s.known[name] = t
}

func (s *turns) dropLocked(name string) {
	if _, known := s.known[name]; known && isMade(name) {
		s.made--
	}
	delete(s.known, name)
}

// names are those that a turn is known for.
func (s *turns) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.known))
}

// forget drops those whose time is over, and, of many, those of runs that have the name no
// more: else some links could take all with names that they claim and take off again.
func (s *turns) forget(has func(name string, run framing.Run) bool) {
	var gone map[string]turn
	s.mu.Lock()
	now := time.Now()
	for name, t := range s.known {
		if now.After(t.until) {
			s.dropLocked(name)
		}
	}
	if len(s.known) > manyTurns {
		gone = maps.Clone(s.known)
	}
	s.mu.Unlock()
	for name, t := range gone { // without the lock, which nobody holds who is asked
		if has(name, t.run) {
			delete(gone, name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range gone {
		if s.known[name] == t {
			s.dropLocked(name)
		}
	}
}

// Order is [relay.Nodes.Order]. Of the nodes that have a name the one with the lowest
// name decides, and tells all others: so the turn goes on when it dies.
func (c *Cluster) Order(name string, run framing.Run, begins bool, may func() bool) bool {
	c.init()
	t, ok := c.turns.of(name)
	own := ok && t.run == run
	at, _ := c.Local.Present(name)
	switch {
	case !begins && !own: // there is none to end
		return false
	case begins && own && time.Until(t.until) > framing.OrderTime-time.Minute: // by another link
		return true
	case begins && ok && !own && c.hasAnywhere(name, t.run): // so nobody is asked, and nothing counts
		return false
	case begins && !c.orders.take(keyOf(at.Key), may):
		return false
	}
	c.mu.RLock()
	decides := c.peers.below(c.Node, name) // nil is this one
	c.mu.RUnlock()
	if decides == nil {
		return c.decide(name, run, begins)
	}
	o := order{name: name, run: run, begins: begins}
	if !begins {
		if c.turns.giveBack(name, run) { // so it is ended once
			_ = decides.send(o.record())
		}
		return false
	}
	id, answer, end := c.turns.ask()
	defer end()
	o.id = id
	if decides.send(o.record()) != nil {
		return false
	}
	late := time.NewTimer(orderTimeout)
	defer late.Stop()
	select {
	case granted := <-answer:
		return granted
	case <-decides.done:
	case <-late.C:
	case <-c.ctx.Done():
	}
	return false
}

// decide begins or ends a turn, and tells all nodes.
func (c *Cluster) decide(name string, run framing.Run, begins bool) (granted bool) {
	at, _ := c.Local.Present(name)
	t, granted, changed := c.turns.decide(name, run, begins, func(run framing.Run) bool {
		return slices.Contains(at.Runs, run) || c.hasElsewhere(name, run)
	})
	if !changed {
		return granted
	}
	c.Local.SetTurn(name, t.run, t.until)
	r := turnRecord(name, run, time.Until(t.until))
	for _, p := range c.connected() {
		p.tellTurn(r, begins)
	}
	return granted
}

// tellTurn queues a TURN. Where many records wait already, as behind all names, one that begins
// leaves their places to what must not be lost, and one that ends the last ones.
func (p *peer) tellTurn(r []byte, begins bool) {
	most := maxQueued / 2
	if !begins {
		most += maxQueued / 4
	}
	p.mu.Lock()
	full := len(p.queue) >= most
	p.mu.Unlock()
	if !full {
		_ = p.send(r)
	}
}

// hasElsewhere reports whether a run has a name on another node.
func (c *Cluster) hasElsewhere(name string, run framing.Run) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.peers.has(name, run) != nil
}

// hasAnywhere reports whether a run has a name here or on another node.
func (c *Cluster) hasAnywhere(name string, run framing.Run) bool {
	at, _ := c.Local.Present(name)
	return slices.Contains(at.Runs, run) || c.hasElsewhere(name, run)
}

// Turn is [relay.Nodes.Turn].
func (c *Cluster) Turn(name string) (relay.Place, bool) {
	c.init()
	t, ok := c.turns.of(name)
	if !ok {
		return relay.Place{}, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	p := c.peers.has(name, t.run)
	if p == nil {
		return relay.Place{}, false
	}
	e := p.names[name]
	return relay.Place{Node: p.node, Said: e.said, Key: e.key}, true
}

// hearOrder is a question for a turn, of a node that takes this one for the decider.
func (p *peer) hearOrder(body []byte) error {
	o, err := parseOrder(body)
	if err != nil {
		return err
	}
	p.c.mu.RLock()
	e, has := p.names[o.name]
	p.c.mu.RUnlock()
	granted := (has && e.has(o.run) || !o.begins) && p.c.decide(o.name, o.run, o.begins)
	if o.begins {
		return p.send(answer(o.id, granted))
	}
	return nil
}

// hearTurn is what another node has decided.
func (p *peer) hearTurn(body []byte) error {
	name, run, left, err := parseTurn(body)
	if err != nil {
		return err
	}
	if t, ok := p.c.turns.hear(name, run, left); ok {
		p.c.Local.SetTurn(name, t.run, t.until)
	}
	return nil
}
