package cluster

import (
	"context"

	"keystay/internal/duplex"
	"keystay/relay"
)

// Hop is [relay.Nodes.Hop].
func (c *Cluster) Hop(ctx context.Context, node string, h relay.Hop) (duplex.Conn, relay.Host, error) {
	c.init()
	return c.pools.hop(ctx, node, h)
}
