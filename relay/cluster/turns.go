package cluster

import (
	"slices"
	"time"

	"keystay/framing"
	"keystay/relay"
)

const (
	// orderTimeout is how long another node may take to say whose turn it is.
	orderTimeout = time.Second
	// maxTurns is how many turns are known at once. Beyond them nobody gets one.
	maxTurns = 1 << 16
)

// A turn is whose turn it is to order a certificate for a name.
type turn struct {
	run   framing.Run
	until time.Time
}

// Order is [relay.Nodes.Order]. Of the nodes that have a name the one with the lowest
// name decides, and tells all others: so the turn goes on when it dies.
func (c *Cluster) Order(name string, run framing.Run, begins bool) bool {
	c.init()
	decides := c.decider(name)
	if decides == nil {
		return c.decide(name, run, begins)
	}
	o := order{name: name, run: run, begins: begins}
	if !begins {
		_ = decides.send(o.record())
		return false
	}
	answer := make(chan bool, 1)
	c.mu.Lock()
	c.lastAsk++
	o.id = c.lastAsk
	c.asked[o.id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asked, o.id)
	}()
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

// decider returns the node that decides about a name's turns; nil is this one.
func (c *Cluster) decider(name string) (lowest *peer) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	node := c.Node
	for _, p := range c.peers {
		if _, ok := p.names[name]; ok && p.node < node {
			node, lowest = p.node, p
		}
	}
	return lowest
}

// decide begins or ends a turn, and tells all nodes.
func (c *Cluster) decide(name string, run framing.Run, begins bool) (granted bool) {
	at, _ := c.Local.Present(name)
	c.mu.Lock()
	now := time.Now()
	t, ok := c.turns[name]
	switch ok = ok && now.Before(t.until); {
	case ok && t.run != run && (slices.Contains(at.Runs, t.run) || c.hasLocked(name, t.run) != nil):
		c.mu.Unlock()
		return false
	case !begins && !(ok && t.run == run), begins && !ok && len(c.turns) >= maxTurns:
		c.mu.Unlock()
		return !begins
	case begins:
		t = turn{run, now.Add(framing.OrderTime)}
		c.turns[name] = t
	default:
		t = turn{run: run}
		delete(c.turns, name)
	}
	c.mu.Unlock()
	c.Local.SetTurn(name, t.run, t.until)
	r := turnRecord(name, run, time.Until(t.until))
	for _, p := range c.connected() {
		_ = p.send(r)
	}
	return true
}

// hasLocked returns the node on which a run has a name, or nil.
func (c *Cluster) hasLocked(name string, run framing.Run) *peer {
	for _, p := range c.peers {
		if e, ok := p.names[name]; ok && e.has(run) {
			return p
		}
	}
	return nil
}

// Turn is [relay.Nodes.Turn].
func (c *Cluster) Turn(name string) (relay.Place, bool) {
	c.init()
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, ok := c.turns[name]
	if !ok || !time.Now().Before(t.until) {
		return relay.Place{}, false
	}
	p := c.hasLocked(name, t.run)
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

// hearAnswer is the answer to this node's question.
func (c *Cluster) hearAnswer(body []byte) error {
	id, granted, err := parseAnswer(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	answer := c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	if answer != nil { // nobody waits any more, if it is late
		answer <- granted
	}
	return nil
}

// hearTurn is what another node has decided.
func (c *Cluster) hearTurn(body []byte) error {
	name, run, left, err := parseTurn(body)
	if err != nil {
		return err
	}
	t := turn{run: run}
	c.mu.Lock()
	_, known := c.turns[name]
	switch {
	case left == 0:
		delete(c.turns, name)
	case known || len(c.turns) < maxTurns:
		t.until = time.Now().Add(left)
		c.turns[name] = t
	}
	c.mu.Unlock()
	c.Local.SetTurn(name, t.run, t.until)
	return nil
}

// turnRecords are the turns that a node is told that has just connected.
func (c *Cluster) turnRecords() (all [][]byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, t := range c.turns {
		if left := time.Until(t.until); left > 0 {
			all = append(all, turnRecord(name, t.run, left))
		}
	}
	return all
}

// forgetTurns drops those whose time is over.
func (c *Cluster) forgetTurns() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for name, t := range c.turns {
		if now.After(t.until) {
			delete(c.turns, name)
		}
	}
}
