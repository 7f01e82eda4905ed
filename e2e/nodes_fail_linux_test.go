package e2e

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/e2e/internal/machines"
	"keystay/e2e/internal/owners"
	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/relay/names"
	"keystay/relay/operator"
)

// Three nodes are one relay, whatever fails: what is up stays up, nobody gets a device that
// is not the one asked for, and all is well again once it is mended. One after the other,
// on one cluster.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.serve("a", "one", 0, 1), c.serve("b", "two", 1, 2)
	all := []*served{a, b}
	for _, part := range []struct {
		name string
		run  func(c *cluster)
	}{
		{"EachNodeReachesEachDevice", func(c *cluster) { c.allReach(all) }},
		{"Parted", func(c *cluster) { c.parted(all, true) }},
		{"PartedOneWay", func(c *cluster) { c.parted(all, false) }},
		{"Killed", func(c *cluster) { c.killed(all) }},
		{"EtcdAway", func(c *cluster) { c.etcdAway(all) }},
		{"BulkLeavesTheHop", (*cluster).bulkLeavesTheHop},
		{"ClocksApart", func(c *cluster) { c.clocksApart(all) }},
		{"Random", func(c *cluster) { c.random(all) }},
		{"Rogue", func(c *cluster) { c.rogue(all) }},
		{"TakenOver", (*cluster).takenOver},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(c.in(t)) }) {
			return // the cluster may be parted still, or a node of it down
		}
	}
}

// in is the cluster for a part of the test.
func (c *cluster) in(t *testing.T) *cluster {
	d := *c
	d.t = t
	return &d
}

// allReach waits until each node reaches each device, and returns how long that took.
func (c *cluster) allReach(all []*served) time.Duration {
	c.t.Helper()
	start := time.Now()
	for node := range c.nodes {
		for _, s := range all {
			c.reaches(node, s)
		}
	}
	return time.Since(start)
}

// linked are the nodes that have a link of the device which takes visitors: one that the
// device leaves may stay long, for those who came on it.
func (c *cluster) linked(s *served) (list []int) {
	c.t.Helper()
	for i, n := range c.nodes {
		if n.PID == 0 {
			continue
		}
		text, err := n.Run("remotes", "list", "--json", "--config", n.Path("relay.yaml"))
		if err != nil {
			c.t.Fatal(err)
		}
		for d := json.NewDecoder(strings.NewReader(text)); ; {
			var r operator.Remote
			if err := d.Decode(&r); err != nil {
				break
			}
			if slices.Contains(r.Names, s.name) && slices.ContainsFunc(r.Links, func(l operator.Link) bool { return !l.Away }) {
				list = append(list, i)
			}
		}
	}
	return list
}

// A standing is a visitor's connection that stays.
type standing struct {
	*tls.Conn
	r    *bufio.Reader
	node int
	s    *served
}

// stand opens a connection to each device at each node, and asks once.
func (c *cluster) stand(all []*served) (list []*standing) {
	c.t.Helper()
	for node := range c.nodes {
		for _, s := range all {
			raw, err := c.g.Dial(visitorsAt, c.address(node))
			if err != nil {
				c.t.Fatal(err)
			}
			conn := tls.Client(raw, &tls.Config{ServerName: s.name, RootCAs: c.ca.Pool()})
			c.t.Cleanup(func() { conn.Close() })
			v := &standing{conn, bufio.NewReader(conn), node, s}
			if err := v.ask(); err != nil {
				c.t.Fatalf("%s at node %d: %v", s.name, node, err)
			}
			list = append(list, v)
		}
	}
	return list
}

// ask makes a request.
func (v *standing) ask() error {
	v.SetDeadline(time.Now().Add(world.Patience))
	if _, err := fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", v.s.name); err != nil {
		return err
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && strings.TrimSpace(string(got)) != v.s.answer {
		err = fmt.Errorf("the answer is %.200q", got)
	}
	return err
}

// stillStand checks that connections are good, and ends them.
func (c *cluster) stillStand(list []*standing, what string) {
	c.t.Helper()
	for _, v := range list {
		if err := v.ask(); err != nil {
			c.t.Errorf("%s: the visitor of %s at node %d was cut: %v", what, v.s.name, v.node, err)
		}
		v.Close()
	}
}

// parted cuts node 0 off from the other nodes for longer than it takes them to notice, and
// visits all meanwhile.
func (c *cluster) parted(all []*served, bothWays bool) {
	visitors := c.stand(all)
	for other := 1; other < nodesOf3; other++ {
		c.g.Cut(0, other, true)
		c.g.Cut(other, 0, bothWays)
	}
	c.sees(0, 0)
	c.sees(1, 1)
	for node := range c.nodes {
		for _, s := range all {
			// The device may move its last link on this side of the cut to the other side.
			thisSide := func() bool {
				return slices.ContainsFunc(c.linked(s), func(n int) bool { return (n == 0) == (node == 0) })
			}
			if thisSide() {
				c.reachesWhere(node, s, thisSide)
			}
		}
	}
	c.g.Heal()
	healed := time.Now()
	for node := range c.nodes {
		c.sees(node, 2)
	}
	c.allReach(all)
	c.t.Logf("%v after the healing each node reaches each device", time.Since(healed).Round(time.Millisecond))
	c.stillStand(visitors, "parted")
}

// bulkLeavesTheHop downloads at a node that has no link of the device, until the device has
// dialled a lane to that very node: then no other one carries the bytes.
func (c *cluster) bulkLeavesTheHop() {
	c.t.Helper()
	s := &served{name: c.serveSite("bulk", 0, 1)}
	for node := range c.nodes {
		world.Eventually(c.t, world.Patience, "the site is answered", func() bool {
			_, err := c.visit(node, s.name)
			return err == nil
		})
	}
	const n = 24 << 20
	url := fmt.Sprintf("https://%s/?n=%d&pause=2ms", s.name, n)
	want := sha256.New()
	io.Copy(want, body(n))
	world.Eventually(c.t, world.Patience, "a node without a link has the device's lane", func() bool {
		linked := c.linked(s)
		node := slices.IndexFunc(c.nodes[:], func(n *machines.Node) bool { return !slices.Contains(linked, slices.Index(c.nodes[:], n)) })
		if node < 0 {
			return false
		}
		before := c.lanes(node)
		resp, err := c.transport(node).RoundTrip(httptest.NewRequest("GET", url, nil))
		if err != nil {
			c.t.Fatal(err)
		}
		defer resp.Body.Close()
		got := sha256.New()
		if _, err := io.Copy(got, resp.Body); err != nil || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			c.t.Fatalf("the download at node %d is another one, or broken: %v", node, err)
		}
		return c.lanes(node) > before
	})
}

// lanes is how many lanes a node has had.
func (c *cluster) lanes(node int) int64 {
	c.t.Helper()
	text, err := c.nodes[node].Run("status", "--json", "--config", c.nodes[node].Path("relay.yaml"))
	var status operator.Status
	if err == nil {
		err = json.Unmarshal([]byte(text), &status)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return status.LanesTotal
}

// clocksApart starts two nodes anew whose clocks are wrong, one in each direction, by more
// than a name is kept for that is not used.
func (c *cluster) clocksApart(all []*served) {
	c.t.Helper()
	if runtime.GOARCH != "amd64" {
		c.t.Skip("no way to set the clock of one program here")
	}
	kept := "kept." + world.Zone
	if o, err := c.claim(2, newKey(), kept); o != owners.Granted {
		c.t.Fatal(err)
	}
	for node, by := range []time.Duration{400 * 24 * time.Hour, -400 * 24 * time.Hour} {
		n := c.nodes[node]
		n.Kill()
		n.Stopped = func(pid int) error {
			clock, err := startWithClock(pid, by)
			if clock != nil {
				clock.close()
			}
			return err
		}
		n.Start()
		n.Stopped = nil
	}
	c.allReach(all)
	for node, n := range c.nodes {
		fresh := fmt.Sprintf("fresh%d.%s", node, world.Zone)
		if o, err := c.claim(node, newKey(), fresh); o != owners.Granted {
			c.t.Errorf("a new name at node %d: %v", node, err)
		}
		for other := range c.nodes {
			world.Eventually(c.t, world.Patience, "all nodes know the new name", func() bool {
				o, _ := c.claim(other, newKey(), fresh)
				return o == owners.Taken
			})
		}
		if o, err := c.claim(node, newKey(), kept); o != owners.Taken {
			c.t.Errorf("somebody else's name at node %d: %v, %v", node, o, err)
		}
		text, err := n.Run("names", "show", kept, "--json", "--config", n.Path("relay.yaml"))
		var shown operator.Name
		if err == nil {
			err = json.Unmarshal([]byte(text), &shown)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		left := time.Until(shown.Grant.Until)
		if day := 24 * time.Hour; shown.Grant.Status != names.Held || left < 364*day || left > 366*day {
			c.t.Errorf("node %d shows %+v", node, shown.Grant)
		}
	}
	for node := range 2 {
		c.nodes[node].Kill()
		c.nodes[node].Start()
	}
	c.allReach(all)
}

// killed kills a node that has links, and starts it anew.
func (c *cluster) killed(all []*served) {
	victim := c.linked(all[0])[0]
	var others []*served // with no link there
	for _, s := range all {
		if !slices.Contains(c.linked(s), victim) {
			others = append(others, s)
		}
	}
	var visitors []*standing
	for _, v := range c.stand(others) {
		if v.node != victim {
			visitors = append(visitors, v)
		}
	}
	c.nodes[victim].Kill()
	died := time.Now()
	for node := range c.nodes {
		if node != victim {
			for _, s := range all {
				c.reaches(node, s)
			}
		}
	}
	c.t.Logf("%v after the death of a node each other one reaches each device", time.Since(died).Round(time.Millisecond))
	c.stillStand(visitors, "killed")
	c.nodes[victim].Start()
	started := time.Now()
	c.allReach(all)
	c.t.Logf("%v after it serves again it reaches each device, as the others do", time.Since(started).Round(time.Millisecond))
}

// etcdAway kills all of etcd.
func (c *cluster) etcdAway(all []*served) {
	_, key, _ := ed25519.GenerateKey(nil)
	if o, err := c.claim(0, key, "mine."+world.Zone); o != owners.Granted {
		c.t.Fatal(err)
	}
	for node := range c.nodes {
		world.Eventually(c.t, world.Patience, "all nodes know the new name", func() bool {
			o, _ := c.claim(node, newKey(), "mine."+world.Zone)
			return o == owners.Taken
		})
	}
	visitors := c.stand(all)
	for _, m := range c.etcd.Members {
		m.Kill()
	}
	if soaking() {
		for range 5 {
			<-time.After(time.Minute)
			for _, v := range visitors { // a device ends a connection on which nothing is asked
				if err := v.ask(); err != nil {
					c.t.Errorf("etcd is away, and the visitor of %s at node %d was cut: %v", v.s.name, v.node, err)
				}
			}
		}
	}
	for node := range c.nodes {
		o, err := c.claim(node, newKey(), fmt.Sprintf("new%d.%s", node, world.Zone))
		var d *framing.Denial
		if o != owners.Unknown || !errors.As(err, &d) || d.Permanent() || !strings.Contains(d.Text, "cannot reach its record of names") {
			c.t.Errorf("etcd is away, and a new name at node %d: %v", node, err)
		}
		if o, err := c.claim(node, key, "mine."+world.Zone); o != owners.Granted {
			c.t.Errorf("etcd is away, and its own name at node %d: %v", node, err)
		}
		// It may be another identity's by now, or this one's.
		if o, err := c.claim(node, newKey(), "mine."+world.Zone); o != owners.Unknown || !errors.As(err, &d) || d.Permanent() {
			c.t.Errorf("etcd is away, and another's name at node %d: %v", node, err)
		}
	}
	c.allReach(all)
	c.stillStand(visitors, "etcd away")
	for i := range c.etcd.Members {
		c.etcd.Start(i)
	}
	back := time.Now()
	for node := range c.nodes {
		world.Eventually(c.t, world.Patience, "new names are given out again", func() bool {
			o, _ := c.claim(node, newKey(), fmt.Sprintf("new%d.%s", node, world.Zone))
			return o == owners.Granted
		})
	}
	c.t.Logf("%v after the start of etcd each node gives out names", time.Since(back).Round(time.Millisecond))
}

func newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return key
}

// takenOver has each node upgraded by a takeover, one after the other, under load.
func (c *cluster) takenOver() {
	rounds := 1
	if soaking() {
		rounds = 10
	}
	s := c.serveSite("site", 0, 1)
	for node := range c.nodes {
		world.Eventually(c.t, world.Patience, "the site is answered", func() bool {
			_, err := c.visit(node, s)
			return err == nil
		})
	}
	v := c.load(s)
	enough := func() {
		goal := v.short.Load() + 30
		world.Eventually(c.t, world.Patience, "visitors are served", func() bool { return v.short.Load() >= goal || v.bad() > 0 })
	}
	enough()
	for range rounds {
		for _, n := range c.nodes {
			n.TakeOver()
			enough()
		}
	}
	for _, err := range v.end() {
		c.t.Error(err)
	}
	c.t.Logf("%d takeovers: %d short requests, %d long, %d on connections that were idle; %d failed", rounds*nodesOf3, v.short.Load(), v.long.Load(), v.idle.Load(), v.bad())
}

// serveSite starts a device with the takeover's site behind it.
func (c *cluster) serveSite(label string, nodes ...int) (name string) {
	c.t.Helper()
	addr := c.site()
	name = label + "." + world.Zone
	c.device(name, addr, nodes...).Await("https://" + name)
	return name
}

// sees waits until a node is connected with so many others.
func (c *cluster) sees(node, others int) {
	c.t.Helper()
	world.Eventually(c.t, world.Patience, fmt.Sprintf("node %d is connected with %d others", node, others), func() bool {
		return c.connected(node) == others
	})
}

// connected is with how many others a node is connected, as its log says.
func (c *cluster) connected(node int) (n int) {
	up := map[string]bool{}
	for line := range strings.SplitSeq(c.nodes[node].Log(), "\n") {
		of := nodeOf.FindStringSubmatch(line)
		switch {
		case strings.Contains(line, "msg=listening for=public"): // a process begins
			clear(up)
		case of == nil:
		case strings.Contains(line, `"a node is connected"`):
			up[of[1]] = true
		case strings.Contains(line, `"a node is not connected any more"`):
			delete(up, of[1])
		}
	}
	return len(up)
}

var nodeOf = regexp.MustCompile(` node=(\S+)`)
