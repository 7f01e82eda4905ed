package framing

import (
	"iter"
	"maps"
	"net"
	"slices"

	"keystay/internal/socket"
)

const (
	// bulkAgain is how many times as much a stream carries until Handler.Bulk is
	// called once more.
	bulkAgain = 4
	// chattyAfter is how many answers there are between two calls of
	// Handler.Chatty.
	chattyAfter = 8
)

// notice tells the remote of a stream that should perhaps move.
func (s *Stream) notice() {
	h := &s.link.handler
	if !s.link.agreed || h.Bulk == nil && h.Chatty == nil {
		return
	}
	s.mu.Lock()
	stays := s.move.state != laneNone || s.err != nil || s.closed
	carried := max(s.sent, s.got, 1)
	bulk := !stays && h.Bulk != nil && carried >= max(s.noticeAt, h.BulkAfter)
	if bulk {
		s.noticeAt = bulkAgain * carried
	}
	chatty := !stays && h.Chatty != nil && s.exchanges >= chattyAfter
	if chatty {
		s.exchanges = 0
	}
	s.mu.Unlock()
	if bulk {
		h.Bulk(s)
	}
	if chatty {
		h.Chatty(s)
	}
}

// NumLanes is how many streams of the link have a lane.
func (l *Link) NumLanes() (n int) {
	for range l.laneConns() {
		n++
	}
	return n
}

// laneConns yields the lanes of the link's streams.
func (l *Link) laneConns() iter.Seq[net.Conn] {
	return func(yield func(net.Conn) bool) {
		l.mu.Lock()
		streams := slices.Collect(maps.Keys(l.streams))
		l.mu.Unlock()
		for _, s := range streams {
			s.mu.Lock()
			lane := s.lane
			s.mu.Unlock()
			if lane != nil && !yield(lane) {
				return
			}
		}
	}
}

// Retransmits is how many packets were sent once more, because they were lost, on
// the link and on the lanes that its streams have now; 0 where the system does not
// tell. So it gets smaller when a lane ends.
func (l *Link) Retransmits() int {
	n := socket.Retransmits(l.conn)
	for lane := range l.laneConns() {
		n += socket.Retransmits(lane)
	}
	return n
}
