package cluster

import (
	"context"
	"crypto/tls"

	"keystay/internal/duplex"
	"keystay/relay"
)

// Hop is [relay.Nodes.Hop].
func (c *Cluster) Hop(ctx context.Context, node string, h relay.Hop) (duplex.Conn, relay.Host, error) {
	c.init()
	return c.pools.hop(ctx, node, h)
}

// serveHop serves a connection on which another node brings a visitor.
func (c *Cluster) serveHop(conn *tls.Conn) {
	if err := c.hops.serveConn(machineOf(conn), conn); err != nil {
		c.log.Debug("a visitor of another node was not taken", "err", err)
	}
}

// initHops makes ready what brings visitors to other nodes, and takes those of others.
func (c *Cluster) initHops() {
	c.pools.dial = func(ctx context.Context, node string) (*tls.Conn, error) { return c.dial(ctx, node, ProtocolHop) }
	// Close may be called before there is a server.
	c.hops.serve = func(v duplex.Conn, h relay.Hop, yes func(relay.Host) error) error { return c.Local.ServeHop(v, h, yes) }
}
