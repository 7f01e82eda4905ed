//go:build linux

// Package machines has machines for tests of a relay with several nodes: network
// namespaces, joined by a switch that parts them, and a real etcd on some of them.
package machines

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"keystay/e2e/internal/link"
)

// A Group is machines that reach one another, until they are parted. They are counted from
// 0 on.
type Group struct {
	link.Switch
	Spaces []*link.Space // each machine's network
}

// New makes n machines, which are gone at the test's end. The test is skipped where it
// may not make any.
func New(t testing.TB, n int) *Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	g := &Group{}
	for i := range n {
		s, err := link.NewSpace()
		if err != nil {
			t.Skip("the kernel gives no network namespace, of which each machine has one: ", err)
		}
		t.Cleanup(s.Close)
		if _, err := g.Join(s, netip.MustParseAddr(g.Host(i))); err != nil {
			t.Skip("the kernel gives no TUN device, by which machines are joined: ", err)
		}
		g.Spaces = append(g.Spaces, s)
	}
	g.Run()
	t.Cleanup(g.Close)
	return g
}

// Host is the address of a machine.
func (g *Group) Host(machine int) string { return fmt.Sprintf("10.80.0.%d", machine+1) }

// At is a port of a machine.
func (g *Group) At(machine, port int) string { return fmt.Sprintf("%s:%d", g.Host(machine), port) }

// Dial makes a TCP connection from one machine to an address of another one.
func (g *Group) Dial(from int, address string) (net.Conn, error) {
	return g.Spaces[from].Dial("tcp", address)
}

// Part cuts the ways between some machines and others, in both directions.
func (g *Group) Part(some, others []int) {
	for _, a := range some {
		for _, b := range others {
			g.Cut(a, b, true)
			g.Cut(b, a, true)
		}
	}
}
