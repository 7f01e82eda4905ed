package cluster

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/testnet"
	"keystay/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

// A board is a Directory in memory.
type board struct {
	mu     sync.Mutex
	nodes  map[string][]byte
	hear   []func(map[string][]byte)
	hidden bool // the list is away: nothing of it is told
}

func (b *board) Announce(ctx context.Context, node string, value []byte) error {
	b.set(node, value)
	<-ctx.Done()
	b.mu.Lock()
	same := bytes.Equal(b.nodes[node], value)
	b.mu.Unlock()
	if same {
		b.set(node, nil)
	}
	return nil
}

func (b *board) set(node string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes == nil {
		b.nodes = make(map[string][]byte)
	}
	if value == nil {
		delete(b.nodes, node)
	} else {
		b.nodes[node] = value
	}
	if !b.hidden {
		for _, f := range b.hear {
			f(maps.Clone(b.nodes))
		}
	}
}

func (b *board) Announced(f func(map[string][]byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hear = append(b.hear, f)
	if !b.hidden {
		f(maps.Clone(b.nodes))
	}
}

// A site is a node's server for tests.
type site struct {
	mu       sync.Mutex
	has      map[string]relay.Presence
	claimed  []relay.Claimed
	settled  func(relay.Claimed) bool // nil settles all
	cut      []relay.Cut
	remember []string
	turns    map[string]framing.Run
}

func (s *site) Present(name string) (relay.Presence, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.has[name]
	return at, ok
}

func (s *site) PresentNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.has))
}

func (s *site) ClaimedOnNode(c relay.Claimed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = append(s.claimed, c)
	return s.settled == nil || s.settled(c)
}

func (s *site) Cut(c relay.Cut) relay.Severed {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = append(s.cut, c)
	return relay.Severed{}
}

func (s *site) Remember(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember = append(s.remember, names...)
}

func (s *site) ServeHop(duplex.Conn, relay.Hop, func(relay.Host) error) error {
	return relay.ErrNotThere
}

func (s *site) SetTurn(name string, run framing.Run, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns == nil {
		s.turns = make(map[string]framing.Run)
	}
	if s.turns[name] = run; until.IsZero() {
		delete(s.turns, name)
	}
}

// A rig is a network in memory, with a CA for its nodes.
type rig struct {
	t     testing.TB
	ca    *Authority
	creds map[string]*Credentials // that raw uses, by node
	board *board
	mu    sync.Mutex
	at    map[string]*memconn.Listener // by address
	conns map[[2]string][]*memconn.Conn
	cut   map[[2]string]bool // which node does not reach which
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir := Dir(t.TempDir())
	if err := dir.Init("first"); err != nil {
		t.Fatal(err)
	}
	a, err := dir.Authority()
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, ca: a, creds: make(map[string]*Credentials), board: &board{}, at: make(map[string]*memconn.Listener), conns: make(map[[2]string][]*memconn.Conn),
		cut: make(map[[2]string]bool), log: &lockedBuffer{}}
}

// credentials makes the certificate of a node, in a folder of its own.
func (r *rig) credentials(node string) *Credentials {
	r.t.Helper()
	dir := Dir(r.t.TempDir())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := r.ca.issue(node, key.Public())
	if err == nil {
		err = dir.keep(key, cert)
	}
	if err == nil {
		err = os.WriteFile(dir.file("ca.pem"), r.ca.pem, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := LoadCredentials(dir.Files(), node)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// A testNode is a node with its server.
type testNode struct {
	*Cluster
	*site
	ln *memconn.Listener
}

// node makes a node that is not started; set may change it.
func (r *rig) node(name string, set func(*Cluster)) *testNode {
	r.t.Helper()
	s := &site{has: make(map[string]relay.Presence)}
	n := &testNode{Cluster: &Cluster{
		Node: name, Epoch: 1, About: About{Address: name + ":9441", Weight: 100},
		Credentials: r.credentials(name), Directory: r.board, Local: s, Version: "test",
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", name),
		Dial:   func(ctx context.Context, address string) (net.Conn, error) { return r.dial(ctx, name, address) },
	}, site: s}
	if set != nil {
		set(n.Cluster)
	}
	return n
}

// start lets a node serve, until the test ends.
func (r *rig) start(n *testNode) *testNode {
	r.t.Helper()
	n.ln = memconn.Listen(nil)
	r.mu.Lock()
	r.at[n.About.Address] = n.ln
	r.mu.Unlock()
	served := make(chan error, 1)
	go func() { served <- n.Serve(n.ln) }()
	if err := n.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		n.Close()
		<-served
	})
	return n
}

func (r *rig) dial(ctx context.Context, from, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	r.mu.Lock()
	ln, cut := r.at[address], r.cut[[2]string{from, host}] || r.cut[[2]string{host, from}]
	r.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if ln == nil {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	c, err := ln.Dial(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pair := [2]string{from, host}
	r.conns[pair] = append(r.conns[pair], c)
	return c, nil
}

// part cuts the network between two nodes: what is connected dies silently.
func (r *rig) part(a, b string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut[[2]string{a, b}] = true
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		for _, c := range r.conns[pair] {
			c.Cut()
		}
	}
}

// heal ends part.
func (r *rig) heal(a, b string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.cut, [2]string{a, b})
	delete(r.cut, [2]string{b, a})
}

// up connects a name at a node.
func (n *testNode) up(name string, at relay.Presence) {
	n.put(name, at)
	n.Changed(name)
}

// put connects a name at a node without telling others.
func (s *site) put(name string, at relay.Presence) {
	at.Name = name
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[name] = at
}

func (n *testNode) down(name string) {
	n.site.mu.Lock()
	delete(n.site.has, name)
	n.site.mu.Unlock()
	n.Changed(name)
}

// by is one run of an identity that is made from a number.
func by(identity byte, number uint64, id byte) relay.Presence {
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	key[0] = identity
	return relay.Presence{Key: key, Runs: []framing.Run{{Number: number, ID: [16]byte{id}}}}
}

// finds checks on which node a node has a name; empty is none.
func (n *testNode) finds(t *testing.T, name, node string) {
	t.Helper()
	at, ok := n.Find(name, false, nil)
	if ok != (node != "") || at.Node != node {
		t.Errorf("node %s finds %s at %q, want %q", n.Node, name, at.Node, node)
	}
}

// always is for an address that may begin a turn.
func always() bool { return true }

// calm lets everything happen that happens within a time.
func calm(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
