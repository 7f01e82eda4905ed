package relay

const (
	WatchInterval     = watchInterval
	TakeTimeout       = takeTimeout
	UnansweredTimeout = unansweredTimeout
	ChallengeTimeout  = challengeTimeout
	HopTimeout        = hopTimeout

	SiblingAnswerTimeout = siblingAnswerTimeout
)

// Streams is how many streams are open on all links.
func (s *Server) Streams() (n int) {
	for _, sess := range s.presence.links() {
		n += sess.link.NumStreams()
	}
	return n
}

// Connections is how many connections are served, links among them.
func (s *Server) Connections() int {
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	return len(s.sockets.conns)
}
