package remote_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

// A cluster is a relay that runs on several nodes, each a fakeRelay.
type cluster struct {
	t     *testing.T
	nodes []*fakeRelay
	log   *loggedLines

	mu   sync.Mutex
	list []framing.Node
}

// newCluster starts n nodes, called "n0" and so on.
func newCluster(t *testing.T, n int, options ...func(*fakeRelay)) *cluster {
	t.Helper()
	c := &cluster{t: t, log: &loggedLines{}}
	for i := range n {
		c.nodes = append(c.nodes, newRelay(t, append(options, func(r *fakeRelay) {
			if i > 0 {
				r.ca = c.nodes[0].ca
				r.cert = r.ca.Issue(zone)
			}
		})...))
		c.list = append(c.list, framing.Node{Name: nodeName(i), Address: c.nodes[i].addr, Weight: 100})
	}
	c.change(nil)
	return c
}

func nodeName(i int) string { return fmt.Sprint("n", i) }

// change changes what all nodes tell of them.
func (c *cluster) change(f func(list []framing.Node)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f != nil {
		f(c.list)
	}
	for i, r := range c.nodes {
		list := framing.Nodes{Own: nodeName(i), List: slices.Clone(c.list)}
		r.mu.Lock()
		r.nodes = list
		for l := range r.links {
			l.TellNodes(list)
		}
		r.mu.Unlock()
	}
}

// config is for a remote that reaches the first node by the relay's name.
func (c *cluster) config() remote.Config {
	cfg := c.nodes[0].config()
	cfg.Links = 2
	cfg.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(c.t.Output(), c.log), &slog.HandlerOptions{Level: slog.LevelDebug}))
	return cfg
}

// start starts a remote that moves its links a thousand times as fast as others do.
func (c *cluster) start(cfg remote.Config) *remote.Listener {
	c.t.Helper()
	ln, err := remote.ListenHastily(cfg, 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { end(ln) })
	return ln
}

// settles waits until the remote's links are on these nodes.
func (c *cluster) settles(ln *remote.Listener, want ...string) {
	c.t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience); ; {
		var on []string
		for _, l := range remote.DeviceOf(ln).Links() {
			on = append(on, l.Node)
		}
		if slices.Sort(on); slices.Equal(on, want) {
			return
		}
		select {
		case <-look.C:
		case <-limit:
			c.t.Fatalf("the links are on %v", on)
		}
	}
}

// on returns the node's link, once there is one that the remote has not left.
func (c *cluster) on(i int) *relayLink {
	c.t.Helper()
	for {
		if l := c.nodes[i].next(); l.Err() == nil && len(l.goAway) == 0 {
			return l
		}
	}
}

// A loggedLines keeps what is logged.
type loggedLines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *loggedLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

// count is how many lines of at least level Info have a text.
func (l *loggedLines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		if strings.Contains(line, text) && !strings.Contains(line, "level=DEBUG") {
			n++
		}
	}
	return n
}

// The two links of a remote go to two nodes, by each transport.
func TestLinksGoToTwoNodes(t *testing.T) {
	for _, by := range []remote.Transport{remote.TransportTLS, remote.TransportWSS} {
		t.Run(string(by), func(t *testing.T) {
			c := newCluster(t, 2, webSocket)
			cfg := c.config()
			cfg.Transport = by
			ln := c.start(cfg)
			c.settles(ln, "n0", "n1")
			for i := range 2 {
				c.on(i).open(domain, framing.KindTLS)
			}
		})
	}
}

// A link moves from a node that takes no links any more: the new one has its names
// before the old one is left, and a visitor of the old one is served to the end.
func TestLinkMovesFromNodeThatTakesNoneWithoutCuttingAVisitor(t *testing.T) {
	c := newCluster(t, 3)
	c.change(func(list []framing.Node) { list[2].Weight = 0 })
	ln := c.start(c.config())
	c.settles(ln, "n0", "n1")
	old := c.on(0)
	visitor := old.visitor("http/1.1")
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	c.change(func(list []framing.Node) { list[0].Weight, list[2].Weight = 0, 100 })
	fresh := c.on(2) // which has its name
	select {
	case g := <-old.goAway:
		if g.Code != framing.GoAwayShutdown {
			t.Errorf("%+v", g)
		}
	case <-time.After(patience):
		t.Fatal("the old link was not left")
	}
	c.settles(ln, "n0", "n1", "n2") // the old one has a visitor
	if _, err := io.WriteString(visitor, "ask"); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 3); true {
		if _, err := io.ReadFull(served, b); err != nil || string(b) != "ask" {
			t.Errorf("%q, %v", b, err)
		}
	}
	visitor.Close()
	served.Close()
	c.settles(ln, "n1", "n2")
	if err := fresh.Err(); err != nil {
		t.Errorf("the new link: %v", err)
	}
}

// While a relay goes away on one node, the next link goes to another one.
func TestLinkGoesElsewhereWhenItsNodeGoesAway(t *testing.T) {
	c := newCluster(t, 3)
	c.change(func(list []framing.Node) { list[2].Weight = 0 })
	ln := c.start(c.config())
	c.settles(ln, "n0", "n1")
	link := c.on(0)
	link.visitor("http/1.1") // who is served as long as the link is there
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	c.nodes[0].set(&framing.Refusal{Code: framing.RefusedBusy, Text: "about to end"}, nil)
	go link.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown, In: time.Minute, Text: "the relay stops"})
	c.settles(ln, "n0", "n1", "n1")
	link.Close()
	c.settles(ln, "n1", "n1")
	c.change(func(list []framing.Node) { list[2].Weight = 100 })
	c.settles(ln, "n1", "n2")
}

// Two links on one node are drawn apart when another node is there again.
func TestLinksAreDrawnApartWhenANodeIsBack(t *testing.T) {
	c := newCluster(t, 2)
	c.change(func(list []framing.Node) { list[1].Weight = 0 })
	ln := c.start(c.config())
	c.settles(ln, "n0", "n0")
	c.change(func(list []framing.Node) { list[1].Weight = 100 })
	c.settles(ln, "n0", "n1")
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
}

// A node whose address leads nowhere, or to something else, keeps no link away: the
// relay's own name is dialled, and the log has it once.
func TestNodeThatCannotBeDialledKeepsNoLinkAway(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, address := range map[string]string{"closed": closed.Addr().String(), "no address": "nowhere", "another kind": "192.0.2.1:443", "other relay": ""} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			if address == "" {
				other := newRelay(t, func(r *fakeRelay) { r.ca = testca.New(t); r.cert = r.ca.Issue(zone) })
				address = other.addr
				defer func() {
					if n := len(other.up); n != 0 {
						t.Error("a link leads to whoever is no relay of that name")
					}
				}()
			}
			c.list = append(c.list, framing.Node{Name: "bad", Address: address, Weight: 10_000})
			c.change(nil)
			ln := c.start(c.config())
			c.settles(ln, "n0", "n0")
			for range 3 {
				remote.WakeUp(ln) // which makes the node worth a try
				c.on(0).conn.Close()
				c.settles(ln, "n0", "n0")
			}
			want := 1
			if name == "no address" {
				want = 0 // nothing is dialled
			}
			told := func() int { return c.log.count("is not reached at its own address") }
			for end := time.Now().Add(patience); told() < want && time.Now().Before(end); { // links settle beside
				<-time.After(time.Millisecond)
			}
			if n := told(); n != want {
				t.Errorf("the log has it %d times, want %d", n, want)
			}
		})
	}
}

// A relay that tells of nodes all the time has links move, and cuts no visitor.
func TestNodesThatChangeAllTheTimeCutNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.change(func(list []framing.Node) { list[2].Weight = 0 })
	ln := c.start(c.config())
	c.settles(ln, "n0", "n1")
	link := c.on(0)
	visitor := link.visitor("http/1.1")
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for i := range 60 {
		<-often.C
		c.change(func(list []framing.Node) {
			for j := range list {
				list[j].Weight = uint16((i + j) % 2)
			}
		})
	}
	visitor.Close()
	if b, err := io.ReadAll(served); len(b) != 0 || err != nil && err != io.EOF {
		t.Errorf("%q, %v", b, err)
	}
}

// A node whose address leads to another one does not make links move there and back: the
// one that is there stays, and is the same.
func TestLinkStaysWhereANodesAddressLeadsToAnother(t *testing.T) {
	c := newCluster(t, 1)
	c.list = append(c.list, framing.Node{Name: "n1", Address: c.nodes[0].addr, Weight: 100})
	c.change(nil)
	ln := c.start(c.config())
	told := time.NewTicker(2 * time.Millisecond)
	defer told.Stop()
	limit := time.After(patience)
	for c.log.count("another node answers there") == 0 {
		select {
		case <-told.C:
		case <-limit:
			t.Fatal("no move was tried")
		}
	}
	c.settles(ln, "n0", "n0")
	if n := c.log.count("has moved to another node"); n != 0 {
		t.Errorf("%d moves", n)
	}
}
