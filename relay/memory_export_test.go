package relay

const (
	MaxLinksPerIdentity = maxLinksPerIdentity
	UnfinishedBase      = unfinishedBase
)

// LinkMemory is what links have taken, the most that was, and the limit.
func (s *Server) LinkMemory() (used, peak, limit int64) {
	s.init()
	return s.shares.memory.Used(), s.shares.memory.Peak(), s.shares.memory.Limit()
}

// UnfinishedMemory is the same for connections without an owner.
func (s *Server) UnfinishedMemory() (used, peak, limit int) {
	s.init()
	used, peak, _ = s.shares.unfinished.usage()
	return used, peak, s.shares.unfinished.limit
}

// Identities is how many identities are counted.
func (s *Server) Identities() int {
	s.shares.devices.mu.Lock()
	defer s.shares.devices.mu.Unlock()
	return len(s.shares.devices.all)
}

// Panics is how many panics were caught.
func (s *Server) Panics() int64 {
	s.init()
	return s.panics.Total()
}
