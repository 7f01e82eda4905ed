//go:build !unix

package duplex

import "net"

// fromTCP copies from src to its end.
func (d *direction) fromTCP(src *net.TCPConn) error { return d.loop(src) }

// A giver writes to the TCP connection that a direction goes to.
type giver struct {
	d  *direction
	to *net.TCPConn
}

func newGiver(d *direction, to *net.TCPConn) *giver { return &giver{d, to} }

// write writes all of p.
func (g *giver) write(p []byte) (int, error) { return g.d.put(g.to, p) }

// writeNow writes nothing: package net cannot write without waiting.
func (g *giver) writeNow([]byte) (int, error) { return 0, nil }
