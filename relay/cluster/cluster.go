package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/panics"
	"keystay/relay"
)

// A Directory is where nodes find each other.
type Directory interface {
	// Announce keeps a value for a node in the list of nodes until ctx ends, again by
	// itself after the list was away. The value goes some seconds after the process.
	Announce(ctx context.Context, node string, value []byte) error

	// Announced calls f with all nodes that are in the list, now and when it changes,
	// one call at a time. f keeps the map, and nobody changes it.
	Announced(f func(map[string][]byte))
}

// A Local is what happens on this node, as [relay.Server] has it.
type Local interface {
	Present(name string) (relay.Presence, bool)
	PresentNames() []string
	ClaimedOnNode(relay.Claimed) (settled bool)
	Cut(relay.Cut) relay.Severed
	Remember(names []string)
	SetTurn(name string, run framing.Run, until time.Time)
	ServeHop(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error
}

// A Load is how much a node has to do, by its own word.
type Load struct {
	Links    int
	Visitors int
	Permille uint16 // of what it can do, as it sees that itself
	Leaves   bool   // it takes no new links and visitors
}

// A Cluster is the other nodes of a relay, as one node knows them. Its fields are set
// before Start and not changed afterwards.
type Cluster struct {
	// Node is the name of this node: 1 to 63 lower-case letters, digits, dots and hyphens,
	// beginning and ending with a letter or a digit. Required.
	Node string

	// Epoch is the number of this process among those that the node has had: each start
	// has a higher one. A later process takes the place of an earlier one.
	Epoch uint64

	// About is what the list of nodes says of this one; SetAbout changes it.
	About About

	// Credentials are the node's certificate and the CA of the nodes. Required.
	Credentials *Credentials

	// Directory is where the nodes find each other. Required.
	Directory Directory

	// Local is what happens here. Required.
	Local Local

	// Authority issues certificates to other nodes; nil where this node cannot.
	Authority *Authority

	// Load says how much this node has to do; nil is nothing.
	Load func() Load

	// OnNodes is called when what Nodes returns has changed, once a second at most; nil
	// is for none.
	OnNodes func([]Node)

	// Dial connects to another node's address; nil is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Version is the program and its version, for people.
	Version string

	// Logger hears of nodes that come and go; nil discards.
	Logger *slog.Logger

	once   sync.Once
	log    *slog.Logger
	panics *panics.Log
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.RWMutex
	closed   bool
	list     members           // the other nodes of the list, and those that were lately
	peers    peers             // the nodes that are connected
	said     uint64            // how many words for names have come
	doubtful map[string]string // names that two identities have, and the other node
	changed  bool              // Nodes has
	usurper  error             // another machine has this node's name

	announced context.CancelFunc // ends what the list says of this node; nil before

	turns    turns
	orders   orders
	listener listener
	pools    hopPools
	hops     hopServer
	joins    joins
	renewal  renewal
	stats    stats
}

// About is what the list of nodes says of one of them.
type About struct {
	Address string `json:"address"`          // host:port that other nodes dial
	Public  string `json:"public,omitempty"` // host:port that remotes dial for this very node; may be empty
	Region  string `json:"region,omitempty"`
	Weight  int    `json:"weight"` // at most 1000; 0 takes no new links
}

// stats counts what the metrics show.
type stats struct {
	sync.Mutex
	said, heard, lost, refused int64
}

// add adds to one of them.
func (s *stats) add(n *int64, by int) {
	s.Lock()
	defer s.Unlock()
	*n += int64(by)
}

// ErrNodeTaken is wrapped by the error of Start where another machine is the node of
// that name.
var ErrNodeTaken = errors.New("another machine is the node of that name")

func (c *Cluster) init() {
	c.once.Do(func() {
		c.log = c.Logger
		if c.log == nil {
			c.log = slog.New(slog.DiscardHandler)
		}
		c.panics = &panics.Log{Logger: c.log}
		c.ctx, c.cancel = context.WithCancel(context.Background())
		c.list, c.peers = make(members), make(peers)
		c.doubtful = make(map[string]string)
		c.joins.authority, c.joins.log = c.Authority, c.log
		c.renewal.credentials, c.renewal.log = c.Credentials, c.log
		c.pools.dial = func(ctx context.Context, node string) (*tls.Conn, error) { return c.dial(ctx, node, ProtocolHop) }
		// Close may be called before there is a server.
		c.hops.serve = func(v duplex.Conn, h relay.Hop, yes func(relay.Host) error) error { return c.Local.ServeHop(v, h, yes) }
		if c.Dial == nil {
			c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", address)
			}
		}
	})
}

// Start puts this node into the list, and connects it with those that are there, until
// Close. Where the list has another machine under the node's name it waits until that has
// gone; the error wraps ErrNodeTaken where it does not go for longer than its place in
// the list would outlive it. Where the list is not known soon, Start returns, and the
// node is put into the list once it is known, and has its name free.
func (c *Cluster) Start(ctx context.Context) error {
	c.init()
	known, free := make(chan struct{}), make(chan struct{})
	tellKnown, tellFree := sync.OnceFunc(func() { close(known) }), sync.OnceFunc(func() { close(free) })
	c.Directory.Announced(func(all map[string][]byte) {
		if c.ctx.Err() != nil {
			return
		}
		if c.setList(all) {
			tellFree()
		}
		tellKnown()
	})
	if !await(ctx, known, knownAfter) {
		c.log.Warn("the list of nodes is not known yet; this node goes on, and waits for it")
	} else if !await(ctx, free, takenAfter) {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.taken()
	}
	c.wg.Go(func() {
		select {
		case <-free:
			c.announce(c.about())
		case <-c.ctx.Done():
		}
	})
	c.wg.Go(func() { c.upkeep() })
	return nil
}

// announce has the list say this of the node, in the place of what it says.
func (c *Cluster) announce(a About) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	before := c.announced
	c.announced = cancel
	c.wg.Go(func() {
		defer c.panics.Catch("being in the list of nodes", func() {})
		if err := c.Directory.Announce(ctx, c.Node, announcementOf(a, c.Credentials.machine(), c.Epoch)); err != nil && ctx.Err() == nil {
			c.log.Error("this node cannot be put into the list of nodes", "err", err)
		}
	})
	if before != nil { // once the other one has begun, or about then: it takes nothing out
		before()
	}
}

// SetAbout changes what the list says of this node.
func (c *Cluster) SetAbout(a About) {
	c.init()
	c.mu.Lock()
	same, listed := a == c.About, c.announced != nil
	c.About, c.changed = a, true
	c.mu.Unlock()
	if listed && !same {
		c.announce(a)
	}
}

// about is what the list says of this node, or is to say.
func (c *Cluster) about() About {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.About
}

// await reports whether something has happened within d.
func await(ctx context.Context, happened <-chan struct{}, d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-happened:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// knownAfter is how long Start waits for the list.
const knownAfter = 3 * time.Second

// takenAfter is for how long the list may have another machine under this node's name:
// longer than a place in it outlives the process.
const takenAfter = 15 * time.Second

// taken returns why this node cannot be one, or nil.
func (c *Cluster) taken() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.usurper
}

// Close ends all connections with other nodes, and waits until that is done. Visitors
// that have hopped already are others' to end.
func (c *Cluster) Close() error {
	c.init()
	c.mu.Lock()
	c.closed = true
	all := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		all = append(all, p)
	}
	c.mu.Unlock()
	c.cancel()
	c.hops.end()
	c.pools.end()
	c.listener.close()
	for _, p := range all {
		p.close(errClosed)
	}
	c.wg.Wait()
	return nil
}

var errClosed = errors.New("this node ends")

// upkeep does what is to be done each second, until Close.
func (c *Cluster) upkeep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.settle()
			c.turns.forget(c.hasAnywhere)
			c.orders.forget()
			c.forgetMembers()
			c.renewWhenDue()
			c.tellNodes()
		}
	}
}

// A machine is how a process of a node is told from one of another machine: the hash of
// its certificate's public key.
type machine [sha256.Size]byte

func (m machine) String() string { return fmt.Sprintf("%x", m[:4]) }
