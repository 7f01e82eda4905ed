package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"keystay/relay"
)

const (
	// pingInterval is how often each side asks for a sign of life, and silenceLimit how
	// long it may hear nothing, or get nothing written.
	pingInterval, silenceLimit = time.Second, 4 * time.Second
	// suspectAfter is after how much silence visitors go to another node, if one has the
	// name, too.
	suspectAfter = pingInterval + 1500*time.Millisecond
	// maxQueued is how many records other than those for names wait to be written.
	maxQueued = 1 << 12
	// maxNames is how many names a node may have connected.
	maxNames = 4 << 20
	// chunk is after how many bytes a record of names is full.
	chunk = 16 << 10
	// wordRate is how many words for names a peer may say in a second beyond maxNames,
	// and otherRate how many other records beyond otherBurst.
	wordRate, otherRate, otherBurst = 200_000, 5_000, 20_000
	// maxCuts is how many cuts of another node wait to be done.
	maxCuts = 1 << 10
)

// A peer is the connection with another node.
type peer struct {
	c       *Cluster
	node    string
	machine machine
	epoch   uint64
	agent   string
	conn    *tls.Conn
	since   time.Time
	done    chan struct{}

	names map[string]entry // guarded by c.mu
	load  Load             // likewise
	whole bool             // all of the snapshot has come; likewise

	heard  atomic.Int64 // when it was heard last, in nanoseconds since since
	rtt    atomic.Int64
	silent meter // of records that are not for names
	words  meter

	cuts chan relay.Cut

	mu     sync.Mutex
	dirty  map[string]struct{} // names that have changed and are to be told
	queue  [][]byte            // records to be written
	more   chan struct{}       // has room for one
	err    error               // why it is over
	closed bool
}

var (
	errSilent   = errors.New("it was silent for too long")
	errFlood    = errors.New("it floods this node")
	errReplaced = errors.New("a later connection with the node has taken its place")
	errSlow     = errors.New("it does not take what it is told")
)

func newPeer(c *Cluster, conn *tls.Conn, h hello) *peer {
	return &peer{c: c, node: h.node, machine: machineOf(conn), epoch: h.epoch, agent: h.agent, conn: conn, since: time.Now(),
		done: make(chan struct{}), names: make(map[string]entry), cuts: make(chan relay.Cut, maxCuts),
		dirty: make(map[string]struct{}), more: make(chan struct{}, 1),
		silent: meter{rate: otherRate, burst: otherBurst}, words: meter{rate: wordRate, burst: maxNames}}
}

// connect dials a node and lets it know this one. The connection is adopted when it
// returns without an error.
func (c *Cluster) connect(ctx context.Context, node string) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.dial(ctx, node, ProtocolNode)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.NetConn().Close() })
	defer stop()
	if _, err := conn.Write(c.hello()); err != nil {
		conn.NetConn().Close()
		return nil, err
	}
	h, err := readHello(conn)
	switch {
	case err != nil:
	case h.node != node:
		err = fmt.Errorf("node %s answers as %s", node, h.node)
	case !stop():
		err = ctx.Err()
	}
	var p *peer
	if err == nil {
		p = newPeer(c, conn, h)
		if r := c.adopt(p, nil); r != nil {
			err = r
		}
	}
	if err != nil {
		conn.NetConn().Close()
		return nil, err
	}
	return p, nil
}

// hello returns this node's HELLO.
func (c *Cluster) hello() []byte {
	h := hello{minor: minor, node: c.Node, epoch: c.Epoch, agent: c.Version[:min(len(c.Version), 255)]}
	return h.record()
}

// readHello reads the first record of the other side. The error is a *refusal where it
// refuses this one.
func readHello(r io.Reader) (hello, error) {
	k, body, err := readRecord(r, make([]byte, maxRecord))
	switch {
	case err != nil:
		return hello{}, err
	case k == kindRefused:
		refused, err := parseRefused(body)
		if err != nil {
			return hello{}, err
		}
		return hello{}, refused
	case k != kindHello:
		return hello{}, violation("the first record is no HELLO")
	}
	return parseHello(body)
}

// serveNode takes a connection that another node has dialled.
func (c *Cluster) serveNode(conn *tls.Conn) {
	conn.SetDeadline(time.Now().Add(dialTimeout))
	h, err := readHello(conn)
	if err != nil {
		c.log.Debug("a node did not say hello", "from", conn.RemoteAddr(), "err", err)
		conn.NetConn().Close()
		return
	}
	r := admit(c.Node, conn, h)
	if r == nil {
		conn.SetDeadline(time.Time{})
		r = c.adopt(newPeer(c, conn, h), c.hello())
	}
	if r == nil {
		return
	}
	c.log.Warn("a node is refused", "node", h.node, "from", conn.RemoteAddr(), "reason", r.text)
	_, _ = conn.Write(r.record())
	conn.Close()
}

// admit says why a node is not let in by the one of a name.
func admit(own string, conn *tls.Conn, h hello) *refusal {
	switch {
	case h.node == own:
		return &refusal{refusedItself, "this is node " + own + ": two machines have its name"}
	case conn.ConnectionState().PeerCertificates[0].VerifyHostname(h.node) != nil:
		return &refusal{refusedForeign, "its certificate is not that of node " + h.node}
	}
	return nil
}

// adopt makes p the connection with its node, in the place of one that is of an earlier
// process, or has been dialled before. First is written before all else. It returns why
// it does not: then p is the caller's.
func (c *Cluster) adopt(p *peer, first []byte) *refusal {
	c.mu.Lock()
	old := c.peers[p.node]
	switch {
	case c.closed:
		c.mu.Unlock()
		return &refusal{refusedOlder, "this process ends"}
	case old != nil && old.machine != p.machine:
		c.mu.Unlock()
		return &refusal{refusedTaken, fmt.Sprintf("another machine is connected as node %s, with the key %v: give one of them another name", p.node, old.machine)}
	case old != nil && p.epoch < old.epoch, c.list[p.node].isPast(p):
		c.mu.Unlock()
		return &refusal{refusedOlder, "a later process of node " + p.node + " is connected"}
	}
	if first != nil {
		p.queue = append(p.queue, first)
	}
	c.peers[p.node] = p // from now on Changed finds it
	if m := c.list[p.node]; m != nil {
		m.why = nil
	}
	c.changed = true
	c.wg.Add(1)
	c.mu.Unlock()
	if old != nil {
		old.close(errReplaced)
		c.gone(old)
	}
	c.pools.up(p.node)
	c.log.Info("a node is connected", "node", p.node, "address", p.conn.RemoteAddr().String(), "version", p.agent, "epoch", p.epoch)
	go func() {
		defer c.wg.Done()
		p.run()
	}()
	return nil
}

// run carries the connection until it is over.
func (p *peer) run() {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer p.c.panics.Catch("telling a node", func() { p.close(errors.New("a mistake in this program")) })
		p.close(p.write())
	})
	wg.Go(func() {
		defer p.c.panics.Catch("cutting what another node has cut", func() {})
		for {
			select {
			case cut := <-p.cuts:
				p.c.Local.Cut(cut)
			case <-p.done:
				return
			}
		}
	})
	func() {
		defer p.c.panics.Catch("hearing a node", func() { p.close(errors.New("a mistake in this program")) })
		p.close(p.read())
	}()
	wg.Wait()
	p.c.gone(p)
}

// close ends the connection; err is why. It may be called more than once.
func (p *peer) close(err error) {
	p.mu.Lock()
	first := !p.closed
	if first {
		p.closed, p.err = true, err
		close(p.done)
	}
	p.mu.Unlock()
	if first {
		p.conn.NetConn().Close()
	}
}
