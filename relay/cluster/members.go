package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"keystay/internal/placing"
)

const (
	// maxNodes is how many other nodes a node knows. What the list has beyond them is
	// not looked at; those that are connected stay.
	maxNodes = 255
	// maxAnnouncement is the longest value of a node in the list, in bytes.
	maxAnnouncement = 2 << 10
	// dialTimeout is how long it may take to reach a node, up to its HELLO.
	dialTimeout = 3 * time.Second
	// redial is the pause before a node is dialled again, and up to half as much more;
	// redialRefused is that after it has refused this one.
	redial, redialRefused = 500 * time.Millisecond, 5 * time.Second
	// forgetAfter is how long a node that is in the list no more is still dialled: the
	// list may be away for it, while it goes on.
	forgetAfter = 10 * time.Minute
)

// A member is another node of the list.
type member struct {
	node string
	announcement
	gone   time.Time          // when the list had it no more; zero while it has it
	why    error              // why it is not connected, as far as this node has dialled
	cancel context.CancelFunc // ends dialling; nil where the other node dials
	last   process            // that was connected
}

// members are the nodes of the list, by their names.
type members map[string]*member

// A process is what was connected as a node, until when.
type process struct {
	machine machine
	epoch   uint64
	until   time.Time
}

// isPast reports whether a connection is of an earlier process than one that was there a
// moment ago. M may be nil.
func (m *member) isPast(p *peer) bool {
	return m != nil && m.last.machine == p.machine && p.epoch < m.last.epoch && time.Since(m.last.until) < pastFor
}

// pastFor is how long a node's process is known that is not connected any more. Then
// also a lower epoch counts, as after a backup of the machine was restored.
const pastFor = 30 * time.Second

// An announcement is what the list says of a node.
type announcement struct {
	About
	Machine string `json:"machine"`
	Epoch   uint64 `json:"epoch"`
}

// announcementOf is what the list says of a process of a node.
func announcementOf(a About, m machine, epoch uint64) []byte {
	b, err := json.Marshal(announcement{a, m.String(), epoch})
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return b
}

// parseAnnouncement reads what the list says of a node. Whoever can write the list has
// written it.
func parseAnnouncement(b []byte) (a announcement, err error) {
	if len(b) > maxAnnouncement {
		return a, fmt.Errorf("longer than %d bytes", maxAnnouncement)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return announcement{}, err
	}
	if _, _, err := net.SplitHostPort(a.Address); err != nil {
		return announcement{}, err
	}
	if _, _, err := net.SplitHostPort(a.Public); a.Public != "" && err != nil {
		return announcement{}, err
	}
	a.Weight = min(max(a.Weight, 0), placing.MaxWeight)
	if !placing.IsRegion(a.Region) {
		return announcement{}, fmt.Errorf("no region: %.80q", a.Region)
	}
	return a, nil
}

// setList takes up the list of nodes. It reports whether this node's own name is free,
// or this machine's.
func (c *Cluster) setList(all map[string][]byte) (free bool) {
	nodes := make([]string, 0, len(all))
	for node := range all {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes) // so that all nodes leave out the same
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return true
	}
	free = c.setOwnLocked(all[c.Node])
	for _, node := range nodes {
		if node == c.Node || !placing.IsName(node) {
			continue
		}
		a, err := parseAnnouncement(all[node])
		if err != nil {
			c.log.Warn("what the list of nodes says of a node cannot be used", "node", node, "err", err)
			continue
		}
		m := c.list[node]
		if m == nil {
			if len(c.list) >= maxNodes {
				c.log.Warn("the list has more nodes than this one takes up", "nodes", len(all))
				break
			}
			m = &member{node: node}
			c.list[node] = m
			if c.Node < node { // one of each two dials, so that they do not meet half-way
				ctx, cancel := context.WithCancel(c.ctx)
				m.cancel = cancel
				c.wg.Go(func() { c.keep(ctx, node) })
			}
		}
		m.announcement, m.gone = a, time.Time{}
	}
	for node, m := range c.list {
		if _, ok := all[node]; !ok && m.gone.IsZero() {
			m.gone = time.Now()
		}
	}
	c.changed = true
	return free
}

// setOwnLocked looks at what the list has under this node's own name.
func (c *Cluster) setOwnLocked(value []byte) (free bool) {
	a, err := parseAnnouncement(value)
	own := c.Credentials.machine().String()
	if value == nil || err != nil || a.Machine == own {
		if c.usurper != nil {
			c.log.Info("the name of this node is its own again", "node", c.Node)
		}
		c.usurper = nil
		return true
	}
	if c.usurper == nil {
		c.log.Error("another machine is in the list of nodes under this one's name", "node", c.Node, "address", a.Address)
	}
	c.usurper = fmt.Errorf("node %s: %w, with the address %s", c.Node, ErrNodeTaken, a.Address)
	return false
}

// forgetMembers drops the nodes that are in the list no more, once they are not
// connected either and their time is over.
func (c *Cluster) forgetMembers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for node, m := range c.list {
		if !m.gone.IsZero() && time.Since(m.gone) > forgetAfter && c.peers[node] == nil {
			if m.cancel != nil {
				m.cancel()
			}
			delete(c.list, node)
			c.changed = true
		}
	}
}

// keep keeps this node connected with another one, until ctx ends.
func (c *Cluster) keep(ctx context.Context, node string) {
	for ctx.Err() == nil {
		p, err := c.connect(ctx, node)
		pause := redial
		if err == nil {
			select {
			case <-p.done:
			case <-ctx.Done(): // Close, or Close ends it
				p.close(errClosed)
			}
		} else {
			if _, refused := err.(*refusal); refused {
				pause = redialRefused
			}
			c.failed(node, err)
		}
		select {
		case <-time.After(pause + rand.N(pause/2)):
		case <-ctx.Done():
		}
	}
}

// failed notes why a node cannot be reached. The log has it when that changes.
func (c *Cluster) failed(node string, err error) {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.list[node]
	if m == nil {
		return
	}
	if m.why == nil || m.why.Error() != err.Error() {
		c.log.Warn("cannot reach a node", "node", node, "address", m.Address, "err", err)
	}
	m.why, c.changed = err, true
}

// address returns where a node is dialled.
func (l members) address(node string) (string, error) {
	m := l[node]
	if m == nil {
		return "", fmt.Errorf("node %s is not in the list", node)
	}
	return m.Address, nil
}
