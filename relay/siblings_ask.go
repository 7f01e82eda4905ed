package relay

import (
	"crypto/ed25519"
	"sync"
	"time"
)

// mayAsk returns when the sibling may be asked for a name, which is made from a key or not;
// the zero time is now.
func (s *sibling) mayAsk(name string, made bool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.down) {
		return s.down
	}
	a := s.asked[name]
	switch {
	case a != nil && now.Before(a.missed):
		return a.missed
	case a != nil && !a.taken && a.now >= maxAskedOfName, a == nil && !s.hasRoomLocked(made, now):
		return now.Add(siblingMissed)
	}
	return time.Time{}
}

// hasRoomLocked reports whether one more name may be asked for. Names that are made from
// keys, of which anybody has as many as he likes, have half of the room.
func (s *sibling) hasRoomLocked(made bool, now time.Time) bool {
	if !s.roomLocked(made) && now.Sub(s.swept) >= siblingMissed {
		s.swept = now
		for name, a := range s.asked {
			if a.now == 0 && !now.Before(a.missed) {
				delete(s.asked, name)
				if a.made {
					s.made--
				}
			}
		}
	}
	return s.roomLocked(made)
}

func (s *sibling) roomLocked(made bool) bool {
	return len(s.asked) < maxAskedNames && (!made || s.made < maxAskedNames/2)
}

// ask counts that a visitor of a name waits for the sibling's answer.
func (s *sibling) ask(name string, made bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = make(map[string]*asking)
	}
	if s.asked[name] == nil {
		s.asked[name] = &asking{made: made}
		if made {
			s.made++
		}
	}
	s.asked[name].now++
	if s.down.IsZero() {
		return
	}
	// It may be there again: the first to ask finds out, for all.
	s.down = time.Now().Add(siblingDown)
}

// A siblingAnswer is how asking a sibling has ended.
type siblingAnswer int

const (
	siblingTook    siblingAnswer = iota
	siblingHasNot                // it does not have the name, or no place
	siblingRefuses               // it refuses the visitor
	siblingFails                 // it cannot be reached, or does not answer
	siblingBreaks                // it ends the connection without an answer
	siblingCalled                // it was not needed any more
	siblingAnswers
)

// siblingWords are the answers as metrics have them.
var siblingWords = [siblingAnswers]string{siblingTook: "taken", siblingHasNot: "not_there", siblingRefuses: "refused", siblingFails: "failed", siblingBreaks: "broken", siblingCalled: "not_needed"}

// answered ends ask.
func (s *sibling) answered(name string, how siblingAnswer) {
	s.answers[how].Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	a := s.asked[name]
	a.now--
	a.taken = how == siblingTook
	switch how {
	case siblingFails:
		s.pause = min(max(2*s.pause, siblingDown), siblingDownMost)
		s.down = now.Add(s.pause)
	case siblingCalled:
	default:
		s.down, s.pause = time.Time{}, 0
	}
	if how == siblingHasNot || how == siblingBreaks {
		a.missed = now.Add(siblingMissed)
	}
}

// isDown reports whether the sibling could not be reached lately.
func (s *sibling) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.down.IsZero()
}

// places are those of the visitors that go one way between the server and a sibling. An
// identity may have as many as are free, or fewer: twice the square of the part that is
// free. So one has half of them at most, and each further one leaves some, as memory is
// shared out (package budget).
type places struct {
	mu      sync.Mutex
	now     int
	made    int // of names made from keys
	total   int64
	holders map[string]int // by their keys
}

// enter gives a visitor of an identity's name a place, which leave gives back: made says that
// the name is made from the key. It reports false where there is none.
func (c *places) enter(holder ed25519.PublicKey, made bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := maxWithSibling - c.now
	switch {
	case free == 0, c.holders[string(holder)] >= max(1, 2*free*free/maxWithSibling), made && c.made >= maxOfMadeNames:
		return false
	case c.holders == nil:
		c.holders = make(map[string]int)
	}
	c.now++
	c.total++
	c.holders[string(holder)]++
	if made {
		c.made++
	}
	return true
}

func (c *places) leave(holder ed25519.PublicKey, made bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	if c.holders[string(holder)]--; c.holders[string(holder)] == 0 {
		delete(c.holders, string(holder))
	}
	if made {
		c.made--
	}
}

// look returns how many are here, and how many there were.
func (c *places) look() (now int, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.total
}
