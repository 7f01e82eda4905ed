package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"keystay/framing"
)

// maxTakes is of how many nodes of a relay it is remembered whether lanes get through to
// them. One more is dialled only once one of these works.
const maxTakes = framing.MaxNodes

// takes is what a way knows of lanes to other nodes than those of its links. The zero
// value is ready.
type takes struct {
	mu    sync.Mutex
	nodes map[string]*takeNode // by the address that is dialled
}

// A takeNode is a node from which visitors may be taken.
type takeNode struct {
	to     target
	health laneHealth
	tls    *tls.Config
}

// takeNode returns the node that the visitor of s has come to, if it may be taken from there
// now, or nil.
func (n *lanes) takeNode(s *framing.Stream) *takeNode {
	name := s.Header().Lane.Node
	if name == "" {
		return nil
	}
	_, to, ok := n.w.nodes.find(name)
	if !ok {
		return nil
	}
	node := n.w.takes.at(to, n.tls)
	if node == nil || !node.health.allowed(time.Now()) {
		return nil
	}
	return node
}

// at returns what is known of a node; nil where too much is.
func (k *takes) at(to target, like *tls.Config) *takeNode {
	k.mu.Lock()
	defer k.mu.Unlock()
	if node := k.nodes[to.address]; node != nil {
		return node
	}
	if k.nodes == nil {
		k.nodes = make(map[string]*takeNode)
	}
	for address, node := range k.nodes {
		if len(k.nodes) >= maxTakes && node.health.isGood() {
			delete(k.nodes, address)
		}
	}
	if len(k.nodes) >= maxTakes {
		return nil
	}
	node := &takeNode{to: to, tls: like.Clone()}
	node.tls.ClientSessionCache = tls.NewLRUClientSessionCache(1) // each node has keys of its own for tickets
	k.nodes[to.address] = node
	return node
}

// take takes the visitor of s from the node to a lane, if it can, and judges lanes to
// that node by it. It reports whether the stream is not to get another lane. Moved is
// called once the stream is where it is to be.
func (n *lanes) take(ctx context.Context, node *takeNode, s *framing.Stream, moved func()) (done bool) {
	lane, err := n.dialTake(ctx, node, s)
	switch {
	case err == nil:
	case errors.Is(err, framing.ErrStreamOver), ctx.Err() != nil:
		return true
	case errors.Is(err, framing.ErrNotTaken):
		return false // nothing is wrong with lanes
	default:
		n.judge(&node.health, fmt.Errorf("at node %s: %w", node.to.node, err))
		return false
	}
	moved()
	n.await(ctx, lane, &node.health)
	return true
}

// dialTake dials the node and takes the visitor. Which addresses it dials doors says.
func (n *lanes) dialTake(ctx context.Context, node *takeNode, s *framing.Stream) (*framing.Lane, error) {
	dialing, cancel := context.WithTimeout(ctx, laneDial)
	defer cancel()
	conn, err := n.w.dialNode(dialing, nil, "", node.to.address)
	if err != nil {
		return nil, fmt.Errorf("dial a lane: %w", err)
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: conn}, node.tls)
	if err := tc.HandshakeContext(dialing); err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial a lane: %w", err)
	}
	n.w.doors.verified(conn.RemoteAddr(), node.to)
	return s.Take(ctx, tc)
}
