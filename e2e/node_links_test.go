package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/internal/testca"
	"keystay/relay"
	"keystay/remote"
)

// nodesOf starts n relays that tell their remotes that they are nodes of one. Names they
// keep apart, which a remote with one identity does not see. All but the last weigh so
// much that no link moves there while another one takes it.
func nodesOf(t *testing.T, n int) (all []*world.Relay) {
	ca := testca.New(t)
	var list []framing.Node
	for i := range n {
		r := world.StartRelayWith(t, ca, nil)
		all = append(all, r)
		list = append(list, framing.Node{Name: fmt.Sprint("n", i), Address: r.Addr, Weight: 60_000})
	}
	list[n-1].Weight = 1
	for i, r := range all {
		if err := r.Server.SetNodes(framing.Nodes{Own: fmt.Sprint("n", i), List: list}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// linksOn waits until the links of a remote are on nodes as they should be.
func linksOn(t *testing.T, d *remote.Device, ok func(nodes []string) bool) (nodes []string) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(world.Patience); ; {
		nodes = nil
		for _, l := range d.Links() {
			nodes = append(nodes, l.Node)
		}
		if slices.Sort(nodes); ok(nodes) {
			return nodes
		}
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("the links are on %v", nodes)
		}
	}
}

// echoDevice serves a name through a relay, and sends back what visitors say.
func echoDevice(t *testing.T, r *world.Relay, name string) *remote.Device {
	t.Helper()
	d, err := remote.Open(remote.DeviceConfig{StateDir: t.TempDir(), Relays: []string{world.Zone}, RelayAddresses: []string{r.Addr},
		RelayRoots: r.CA.Pool(), Logger: testLog(t, "remote")})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		d.Shutdown(over)
		wg.Wait()
	})
	list, err := d.Listen(remote.Name{Domain: name, TLS: &tls.Config{Certificates: []tls.Certificate{r.CA.Issue(name)}}})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for {
			c, err := list[0].Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	return d
}

// A remote has its links on two nodes of a relay, each of which serves visitors. One that
// is drained is left for the third, and the visitor who is on it is served to the end.
func TestLinksAreOnTwoNodesAndLeaveOneThatIsDrained(t *testing.T) {
	t.Parallel()
	all := nodesOf(t, 3)
	name := "xyz." + world.Zone
	d := echoDevice(t, all[0], name)
	two := func(nodes []string) bool { return len(nodes) == 2 && nodes[0] != nodes[1] && nodes[0] != "" }
	nodes := linksOn(t, d, two)
	drained := all[slices.IndexFunc([]string{"n0", "n1", "n2"}, func(n string) bool { return n == nodes[0] })]
	visit := func(r *world.Relay) *tls.Conn {
		linksOn(t, d, func([]string) bool { // a link is there before its names are
			list, _, err := r.Server.Remotes(relay.Which{Name: name}, "", 1)
			return err == nil && len(list) > 0
		})
		c, err := tls.Dial("tcp", r.Addr, &tls.Config{RootCAs: r.CA.Pool(), ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(world.Patience))
		return c
	}
	says := func(c net.Conn, text string) {
		t.Helper()
		b := make([]byte, len(text))
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
			t.Fatalf("%q, %v", b, err)
		}
	}
	stays := visit(drained)
	says(stays, "before")
	over := make(chan error, 1)
	go func(s *relay.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
		defer cancel()
		over <- s.Shutdown(ctx)
	}(drained.Server)
	linksOn(t, d, func(on []string) bool { // the old link stays for its visitor
		others := slices.DeleteFunc(slices.Clone(on), func(n string) bool { return n == nodes[0] })
		return len(on) == 3 && two(others)
	})
	says(stays, "while the node goes away")
	if err := stays.CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(stays); len(b) != 0 || err != nil {
		t.Errorf("the visitor's end: %q, %v", b, err)
	}
	stays.Close()
	if err := <-over; err != nil {
		t.Errorf("the drain: %v", err)
	}
	for i, n := range []string{"n0", "n1", "n2"} {
		if n != nodes[0] {
			says(visit(all[i]), "on the others")
		}
	}
}
