package cluster

import (
	"context"
	"crypto/tls"

	"keystay/internal/duplex"
	"keystay/relay"
)

// ProtocolHop is the ALPN name of a visitor's way from one node to another.
const ProtocolHop = "keystay-hop/1"

// Hop is [relay.Nodes.Hop].
func (c *Cluster) Hop(context.Context, string, relay.Hop) (duplex.Conn, error) {
	return nil, relay.ErrNotThere
}

// serveHop takes a visitor of another node.
func (c *Cluster) serveHop(conn *tls.Conn) { conn.NetConn().Close() }
