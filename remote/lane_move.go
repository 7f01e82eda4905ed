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

const (
	// DefaultLaneAfter is how many bytes in one direction make a visitor's
	// connection bulk. What is shorter ends sooner on the link, which is warm.
	DefaultLaneAfter = 2 << 20
	// maxOpening is how many lanes of a link are opened at once: with the spare
	// ones no more than a relay grants.
	maxOpening = framing.MaxSpareLanes - maxSpares
	// maxBulk is how many streams of a link may wait for their lanes. What is
	// more stays on the link until it is told of again.
	maxBulk = 256
	// maxLanes is how many lanes a link may have so that a stream that is bulk
	// gets one. Visitors choose how many of these there are, and each is one more
	// connection that the router of the device's network has to remember.
	maxLanes = 512
	// maxChatty is how many lanes a link may have so that a stream gets one which
	// is not bulk: it takes little to be chatty.
	maxChatty = 256
)

// lanes opens the lanes of one link to a relay and moves streams to them.
type lanes struct {
	w    *way
	tls  *tls.Config
	bulk chan *framing.Stream
	// chatty takes streams that may want a lane; those for which there is no room
	// come again.
	chatty chan *framing.Stream
	// opening holds an element for each lane that is being opened.
	opening chan struct{}
	tokens  *laneTokens

	refilling sync.Mutex // one refill at a time
	mu        sync.Mutex
	moving    map[*framing.Stream]struct{}
	spares    []*framing.Lane
	taken     []time.Time // when lanes were needed, within spareTime
}

func (w *way) newLanes(host string, small bool) *lanes {
	return &lanes{
		w:       w,
		bulk:    make(chan *framing.Stream, maxBulk),
		chatty:  make(chan *framing.Stream, maxOpening),
		opening: make(chan struct{}, maxOpening),
		tokens:  newLaneTokens(),
		moving:  make(map[*framing.Stream]struct{}),
		tls: &tls.Config{
			ServerName:                  host,
			RootCAs:                     w.d.cfg.RelayRoots,
			MinVersion:                  tls.VersionTLS13,
			NextProtos:                  []string{framing.LaneProtocol},
			CurvePreferences:            curves(small),
			ClientSessionCache:          tls.NewLRUClientSessionCache(maxSpares),
			DynamicRecordSizingDisabled: true,
		},
	}
}

// noticeBulk takes a stream that has become bulk. It does not block: a stream for
// which there is no room stays where it is.
func (n *lanes) noticeBulk(s *framing.Stream) { offer(n.bulk, s) }

// noticeChatty takes a stream on which much is asked and answered. It does not
// block.
func (n *lanes) noticeChatty(s *framing.Stream) { offer(n.chatty, s) }

func offer(c chan<- *framing.Stream, s *framing.Stream) {
	select {
	case c <- s:
	default:
	}
}

// serve moves what is bulk, and what is chatty as long as packets are lost on
// the way, until the link is lost.
func (n *lanes) serve(link *framing.Link) {
	for {
		var s *framing.Stream
		chatty := false
		select {
		case s = <-n.bulk:
		case s = <-n.chatty:
			chatty = true
		case <-link.Done():
			return
		}
		if chatty && !n.w.d.loss.lossy(time.Now(), n.w.d.retransmits) || !roomFor(link.NumLanes(), chatty) {
			continue // it is told of again
		}
		select {
		case n.opening <- struct{}{}:
		case <-link.Done():
			return
		}
		if n.takeNode(s) == nil && !n.w.health.allowed(time.Now()) || !n.startMoving(s) {
			<-n.opening
			continue
		}
		n.w.d.wg.Go(func() { n.move(link, s) })
	}
}

// roomFor reports whether a link that has so many lanes may have one more, for a
// stream that is chatty or one that is bulk.
func roomFor(lanes int, chatty bool) bool {
	if chatty {
		return lanes < maxChatty
	}
	return lanes < maxLanes
}

// startMoving reports false when s is being moved already.
func (n *lanes) startMoving(s *framing.Stream) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, already := n.moving[s]
	n.moving[s] = struct{}{}
	return !already
}

// doneMoving undoes startMoving.
func (n *lanes) doneMoving(s *framing.Stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.moving, s)
}

// move moves a stream to a lane, if it can, and judges lanes by it: to the node that its
// visitor has come to, where that is another one, or else to that of the link. It takes
// an element out of opening.
func (n *lanes) move(link *framing.Link, s *framing.Stream) {
	ctx, cancel := context.WithCancel(n.w.d.cut)
	defer cancel()
	moved := sync.OnceFunc(func() {
		n.doneMoving(s)
		<-n.opening
	})
	defer moved()
	if node := n.takeNode(s); node != nil && n.take(ctx, node, s, moved) {
		return
	}
	if !n.w.health.allowed(time.Now()) {
		return
	}
	lane, err := n.spare(ctx, link)
	if err == nil {
		err = lane.Bind(ctx, s)
	}
	moved()
	switch {
	case err == nil:
		n.w.d.wg.Go(func() { n.refill(link) })
	case errors.Is(err, framing.ErrNoLanes), errors.Is(err, framing.ErrStreamOver), link.Err() != nil, ctx.Err() != nil:
		return // nothing is wrong with lanes
	default:
		n.judge(&n.w.health, err)
		return
	}
	n.await(ctx, lane, &n.w.health)
}

// await judges lanes by one that has a stream, for laneTrial.
func (n *lanes) await(ctx context.Context, lane *framing.Lane, h *laneHealth) {
	trial, cancel := context.WithTimeout(ctx, laneTrial)
	defer cancel()
	worked, err := lane.Outcome(trial)
	if err != nil {
		n.judge(h, fmt.Errorf("a lane was lost soon after it was bound: %w", err))
	} else if worked {
		h.good()
	}
}

// judge notes that lanes to this relay, or to one node of it, have failed.
func (n *lanes) judge(h *laneHealth, err error) {
	if rest := h.failed(time.Now()); rest > 0 {
		n.w.d.log.Info("connections for bulk fail to this relay; all stays on the links", "relay", n.w.name(), "err", err, "for", rest)
		return
	}
	n.w.d.log.Debug("a lane failed", "relay", n.w.name(), "err", err)
}
