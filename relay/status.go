package relay

import (
	"time"

	"keystay/relay/limits"
)

// A Status is what a relay does at a moment.
type Status struct {
	Links    int
	Names    int // that lead to a remote
	Visitors int // that are served, or wait for a remote

	VisitorsTotal int64            // since Since
	RefusedTotal  int64            // connections that led nowhere
	RefusedFor    map[string]int64 // the same by reason, by its word in the metrics, of those that there were
	BytesIn       int64            // that visitors have sent to remotes
	BytesOut      int64            // that they got
	LanesTotal    int64
	LimitsMet     map[string]int64 // how often each limit was met, by its name in the metrics, of those that were
	Panics        int64            // mistakes in the program that have ended a connection

	Memory      int64 // taken of MemoryLimit, in bytes, see [Server.Memory]
	MemoryLimit int64

	Since    time.Time // when it began
	Stopping bool      // it takes no new visitors
}

// Status returns what the relay does now.
func (s *Server) Status() Status {
	s.init()
	links, names := s.presence.count()
	used, _, _ := s.shares.unfinished.usage()
	met := make(map[string]int64)
	for _, r := range limits.Reasons() {
		if n := s.bounds.met(r); n > 0 {
			met[r.String()] = n
		}
	}
	refused := make(map[string]int64)
	for i := range s.stats.refused {
		if n := s.stats.refused[i].Load(); n > 0 {
			refused[refusedWords[i]] = n
		}
	}
	carried, _, _ := s.traffic.look()
	return Status{
		Links: links, Names: names, Visitors: s.Visitors(),
		VisitorsTotal: s.stats.visitors.sum(), RefusedTotal: s.stats.refused.sum(), LanesTotal: s.stats.lanes.Load(), LimitsMet: met,
		RefusedFor: refused, BytesIn: carried.streamIn + carried.laneIn, BytesOut: carried.streamOut + carried.laneOut, Panics: s.panics.Total(),
		Memory: s.shares.memory.Used() + int64(used), MemoryLimit: s.shares.memory.Limit() + int64(s.shares.unfinished.limit),
		Since: s.began, Stopping: s.sockets.stopping(),
	}
}

// A serverState is what a server is about.
type serverState int

const (
	isServing     serverState = iota
	isPausedNow               // a new process asks for what this one has
	isDraining                // it takes no new visitors, and waits for those that are here
	hasHandedOver             // the same, where a new process has taken over
	serverStates
)

// stateWords are the states as metrics have them.
var stateWords = [serverStates]string{isServing: "serving", isPausedNow: "paused", isDraining: "draining", hasHandedOver: "handed_over"}

// state is what the server is about now.
func (s *Server) state() serverState {
	switch d := s.departure.Load(); {
	case d != nil && d.pass != nil:
		return hasHandedOver
	case s.sockets.stopping():
		return isDraining
	case s.sockets.isPaused():
		return isPausedNow
	}
	return isServing
}
