package framing

const (
	// bulkAgain is for a stream that has no lane yet: Handler.Bulk is called again
	// each time that the stream has carried so many times as much as at the call
	// before.
	bulkAgain = 4
	// chattyAfter is how many answers there are between two calls of
	// Handler.Chatty.
	chattyAfter = 8
)

// notices is the part of a Stream that notice looks at.
type notices struct {
	at        int64 // bytes in one direction, for the next Handler.Bulk
	spoke     bool  // data was sent, and none has come since
	exchanges int   // data has come after data was sent, since Handler.Chatty
}

// notice tells the remote of a stream that should perhaps move.
func (s *Stream) notice() {
	h := &s.link.handler
	if !s.link.lanes.agreed || h.Bulk == nil && h.Chatty == nil {
		return
	}
	s.mu.Lock()
	stays := s.lane.state != laneNone || s.cause != nil || s.closed
	carried := max(s.out.sent, s.in.got, 1)
	bulk := !stays && h.Bulk != nil && carried >= max(s.notices.at, h.BulkAfter)
	if bulk {
		s.notices.at = bulkAgain * carried
	}
	chatty := !stays && h.Chatty != nil && s.notices.exchanges >= chattyAfter
	if chatty {
		s.notices.exchanges = 0
	}
	s.mu.Unlock()
	if bulk {
		h.Bulk(s)
	}
	if chatty {
		h.Chatty(s)
	}
}
