package relay

import "keystay/internal/duplex"

// MaxHoldsPerName is how many visitors of one name may wait for its remote.
const MaxHoldsPerName = maxHoldsPerName

// Holds is how many visitors wait for a remote, and for how many names.
func (s *Server) Holds() (visitors, names int) {
	s.router.waiters.mu.Lock()
	defer s.router.waiters.mu.Unlock()
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	return s.router.waiters.holders.sum, len(s.router.waiters.waiting) + len(s.presence.awaited)
}

// MaxHolds is how many visitors may wait in all.
const MaxHolds = maxHolds

// PortLinger is how long a port without its remote is listened on, and PortLook how often
// that is looked at.
const (
	PortLinger = portLinger
	PortLook   = portLook
)

// RestAtOnce lets a visitor take a goroutine less as soon as it waits. It is to be called
// before Serve.
func (s *Server) RestAtOnce() {
	s.init()
	s.sockets.rest = duplex.NewRest(0)
}
