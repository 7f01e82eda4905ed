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
		if !s.onLaneLocked() {
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
	s.endLaneLocked()
	if s.wire == wireEnded && (s.in.buf.len == 0 || s.closed) && !s.in.popped && !s.onLaneLocked() {
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

// ended reports whether both directions have ended, or moved. The other side may
// send smux's FIN as soon as it has our END. That can be before written is called
// for the END.
func (s *Stream) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endedLocked()
}

func (s *Stream) endedLocked() bool {
	return s.recv != halfOpen && s.send != halfOpen
}
