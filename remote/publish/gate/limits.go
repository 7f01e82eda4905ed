package gate

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// guessBurst is how many wrong passwords one address may send at once, and
	// guessEvery after which time one more. An address is one of IPv4, or 64 bits of
	// one of IPv6, which is what one household has.
	guessBurst = 10
	guessEvery = 6 * time.Second
	// maxGuessers is how many addresses are remembered. One that has not guessed for
	// guessBurst * guessEvery is forgotten. Beyond that any may be.
	maxGuessers = 10000
)

// Guesses are how often each address has guessed of late.
type guesses struct {
	mu sync.Mutex
	by map[netip.Prefix]time.Time // when it is as if it had never guessed
}

func newGuesses() *guesses { return &guesses{by: make(map[netip.Prefix]time.Time)} }

// network is what counts as one address.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // all that have none
	}
	return p
}

// take counts a guess of an address before it is looked at. Where there were too many
// it returns how long to wait.
func (g *guesses) take(a netip.Addr) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, key := time.Now(), network(a)
	clear := g.by[key]
	if clear.Before(now) {
		clear = now
	}
	clear = clear.Add(guessEvery)
	if over := clear.Sub(now) - guessBurst*guessEvery; over > 0 {
		return over
	}
	if _, ok := g.by[key]; !ok && len(g.by) >= maxGuessers {
		g.forgetLocked(now)
	}
	g.by[key] = clear
	return 0
}

// putBack takes a guess back that was right.
func (g *guesses) putBack(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := network(a)
	if clear, ok := g.by[key]; ok {
		g.by[key] = clear.Add(-guessEvery)
	}
}

// forgetLocked makes room: those go first that nothing is held against, and if there
// is none, any.
func (g *guesses) forgetLocked(now time.Time) {
	for key, clear := range g.by {
		if !clear.After(now) {
			delete(g.by, key)
		}
	}
	for key := range g.by {
		if len(g.by) < maxGuessers*7/8 { // not one by one, since each time is a look at all
			return
		}
		delete(g.by, key)
	}
}

// maxHashing is how many passwords, or certificates, may wait to be looked at. Each
// takes a processor for a while: a password about 50 ms with the usual cost of 10.
const maxHashing = 64

// Hashing lets passwords, or certificates, be looked at on half of the processors, so
// that services have the rest.
type hashing struct {
	places  chan struct{}
	waiting atomic.Int64
}

func newHashing() *hashing {
	return &hashing{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// do calls f in its turn. It returns false without doing so where too many wait, or
// ctx ends.
func (h *hashing) do(ctx context.Context, f func()) bool {
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > maxHashing {
		return false
	}
	select {
	case h.places <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-h.places }()
	f()
	return true
}

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
