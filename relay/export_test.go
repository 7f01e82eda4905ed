package relay

// MaxHoldsPerName is how many visitors of one name may wait for its remote.
const MaxHoldsPerName = maxHoldsPerName

// Holds is how many visitors wait for a remote, and for how many names.
func (s *Server) Holds() (visitors, names int) {
	s.holds.mu.Lock()
	defer s.holds.mu.Unlock()
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	return s.holds.holders.sum, len(s.holds.waiting) + len(s.presence.awaited)
}
