package relay

import "errors"

// Pause makes the server accept nothing, on any of its listeners, until Resume.
// When it has returned no connection is being accepted; those that arrive wait
// in the kernel. Every listener must have SetDeadline, as a *net.TCPListener
// has. If it fails nothing is paused.
func (s *Server) Pause() error {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.departure != nil || s.closing || s.pausing {
		return errors.New("pause: the server is paused or stops")
	}
	s.pausing = true
	for ln := range s.listeners {
		if err := s.pauseLocked(ln); err != nil {
			s.resumeLocked()
			return err
		}
	}
	return nil
}

func (s *Server) pauseLocked(ln *listener) error {
	err := ln.pause()
	if err == nil {
		s.paused = append(s.paused, ln)
	}
	return err
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeLocked()
}

func (s *Server) resumeLocked() {
	for _, ln := range s.paused {
		ln.resume()
	}
	s.paused, s.pausing = nil, false
}
