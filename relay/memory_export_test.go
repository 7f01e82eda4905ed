package relay

const (
	MaxLinksPerIdentity = maxLinksPerIdentity
	UnfinishedBase      = unfinishedBase
)

// LinkMemory is what links have taken, the most that was, and the limit.
func (s *Server) LinkMemory() (used, peak, limit int64) {
	s.init()
	return s.memory.Used(), s.memory.Peak(), s.memory.Limit()
}

// UnfinishedMemory is the same for connections without an owner.
func (s *Server) UnfinishedMemory() (used, peak, limit int) {
	s.init()
	used, peak, _ = s.unfinished.usage()
	return used, peak, s.unfinished.limit
}

// Identities is how many identities are counted.
func (s *Server) Identities() int {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	return len(s.devices.all)
}

// Panics is how many panics were caught.
func (s *Server) Panics() int64 {
	s.init()
	return s.panics.Total()
}
