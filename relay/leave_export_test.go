package relay

// MaxExpectedPerName is how many visitors of a name that was handed over may wait.
const MaxExpectedPerName = maxExpectedPerName

// Routing is how many connections are accepted and not yet where they belong.
func (s *Server) Routing() int { return s.sockets.routing.current() }

// Listeners is how many listeners are served.
func (s *Server) Listeners() int {
	s.init()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	return len(s.sockets.listeners)
}
