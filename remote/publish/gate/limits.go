package gate

import (
	"sync"
	"time"
)

const (
	// seenTime is how long a password that a program has sent with Basic is known
	// again without looking at its hash.
	seenTime = 10 * time.Minute
	// maxSeen is how many are.
	maxSeen = 4096
)

// Seen are the passwords that programs have sent of late, right ones and wrong ones:
// they send them with each request. Only a sum with a key of this process is kept.
type seen struct {
	mu  sync.Mutex
	by  map[[32]byte]seenPassword
	key seal
}

type seenPassword struct {
	known bool // whether it is right; else it has counted as a guess and no more
	right bool
	until time.Time
}

func newSeen() *seen { return &seen{by: make(map[[32]byte]seenPassword), key: randomSeal()} }

// look returns what is known of a password.
func (s *seen) look(key [32]byte) (right, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.by[key]
	known = e.known && time.Now().Before(e.until)
	return e.right && known, known
}

// counted reports whether a password that nothing is known of has counted as a guess,
// by count, now or before.
func (s *seen) counted(key [32]byte, count func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.by[key].until) {
		return true
	}
	if !count() {
		return false
	}
	s.noteLocked(key, seenPassword{})
	return true
}

// note remembers a password.
func (s *seen) note(key [32]byte, right bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteLocked(key, seenPassword{known: true, right: right})
}

func (s *seen) noteLocked(key [32]byte, e seenPassword) {
	now := time.Now()
	if len(s.by) >= maxSeen {
		for k, e := range s.by {
			if !now.Before(e.until) {
				delete(s.by, k)
			}
		}
		for k := range s.by {
			if len(s.by) < maxSeen*7/8 {
				break
			}
			delete(s.by, k)
		}
	}
	e.until = now.Add(seenTime)
	s.by[key] = e
}
