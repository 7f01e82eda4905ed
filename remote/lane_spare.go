package remote

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"keystay/framing"
)

const (
	// laneAnswer is how long the relay may take to grant a lane.
	laneAnswer = framing.WriteTimeout
	// laneDial is how long a lane may take from its token to its JOIN.
	laneDial = framing.TokenTime
	// spareTime is how long a lane is kept that nobody needs.
	spareTime = framing.SpareLaneTime / 2
	// maxSpares is how many lanes of a link are kept ready.
	maxSpares = 4
)

// spare returns a spare lane, or a new one.
func (n *lanes) spare(ctx context.Context, link *framing.Link) (*framing.Lane, error) {
	n.mu.Lock()
	n.taken = append(n.recent(), time.Now())
	if k := len(n.spares) - 1; k >= 0 {
		lane := n.spares[k]
		n.spares = n.spares[:k]
		n.mu.Unlock()
		return lane, nil
	}
	n.mu.Unlock()
	return n.open(ctx, link)
}

// recent returns what is left of taken; n.mu is held.
func (n *lanes) recent() []time.Time {
	for len(n.taken) > 0 && (len(n.taken) >= maxSpares || time.Since(n.taken[0]) > spareTime) {
		n.taken = n.taken[1:]
	}
	return n.taken
}

// refill opens spare lanes, as many as were needed lately.
func (n *lanes) refill(link *framing.Link) {
	if !n.refilling.TryLock() {
		return
	}
	defer n.refilling.Unlock()
	for {
		n.mu.Lock()
		enough := len(n.spares) >= len(n.recent())
		n.mu.Unlock()
		if enough || link.Err() != nil {
			return
		}
		select {
		case n.opening <- struct{}{}:
		default:
			return // they are needed elsewhere
		}
		lane, err := n.open(n.w.d.cut, link)
		<-n.opening
		if err != nil {
			return // whoever needs one will see
		}
		n.mu.Lock()
		n.spares = append(n.spares, lane)
		n.mu.Unlock()
		n.w.d.wg.Go(func() { n.expire(link, lane) })
	}
}

// expire closes a spare lane when nobody has taken it in time.
func (n *lanes) expire(link *framing.Link, lane *framing.Lane) {
	timer := time.NewTimer(spareTime)
	defer timer.Stop()
	select {
	case <-lane.Lost(): // or bound
	case <-timer.C:
	case <-link.Done():
	case <-n.w.d.cut.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, spare := range n.spares {
		if spare == lane {
			n.spares = append(n.spares[:i], n.spares[i+1:]...)
			lane.Close()
			return
		}
	}
}

// token returns a token for a lane. No answer in time is as good as none granted:
// a goroutine for each stream that is bulk must not wait as long as the link lives.
func (n *lanes) token(ctx context.Context, link *framing.Link) (framing.LaneToken, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, laneAnswer, framing.ErrNoLanes)
	defer cancel()
	token, err := n.tokens.get(ctx, link.WantLanes)
	if context.Cause(ctx) == framing.ErrNoLanes && err != nil {
		return token, framing.ErrNoLanes
	}
	return token, err
}

// open dials a lane, to where the link leads.
func (n *lanes) open(ctx context.Context, link *framing.Link) (*framing.Lane, error) {
	token, err := n.token(ctx, link)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, laneDial)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", link.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("dial a lane: %w", err)
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: conn}, n.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial a lane: %w", err)
	}
	return link.JoinLane(tc, token)
}
