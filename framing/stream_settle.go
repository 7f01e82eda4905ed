package framing

// settleLocked closes the smux side when both directions are over, and takes
// the stream off the link when nothing of it is left here and on the wire: a peer
// that opens and ends streams without reading must not make this side hold more of
// them than MaxStreams.
func (s *Stream) settleLocked() {
	over := s.endedLocked() && len(s.out.frames) == 0 && !s.out.inTurn
	if s.cause != nil {
		over = s.out.rst == rstNone // RESET goes out first
	}
	if over && s.wire == wireOpen {
		s.wire = wireEnding
		if s.linger != nil {
			s.linger.Stop()
		}
		if !s.lane.livesLocked() {
			s.readable.stop()
			s.writable.stop()
		}
		if s.link.sender.tryFIN(s.id) {
			s.wire = wireEnded
			s.link.streams.forget(s)
		} else {
			go s.closeMux()
		}
	}
	s.lane.endLocked()
	if s.wire == wireEnded && (s.in.buf.len == 0 || s.closed) && !s.in.popped && !s.lane.livesLocked() {
		s.wire = wireRemoved
		s.in.release()
		s.link.streams.remove(s)
	}
}

// closeMux closes the smux side where FIN has to wait for the link.
func (s *Stream) closeMux() {
	defer s.link.handler.Panics.Catch("ending a stream", s.link.panicked)
	s.link.sender.fin(s.id)
	s.link.streams.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = wireEnded
	s.settleLocked()
}

// over reports whether nothing of the stream is left to move.
func (s *Stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked()
}
