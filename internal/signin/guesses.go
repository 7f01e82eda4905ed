package signin

import (
	"net/netip"
	"sync"
	"time"

	"keystay/internal/publicaddr"
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

// Guesses are how often each address has guessed of late. Make them with NewGuesses.
type Guesses struct {
	mu sync.Mutex
	by map[netip.Prefix]time.Time // when it is as if it had never guessed
}

// NewGuesses returns Guesses of nobody.
func NewGuesses() *Guesses { return &Guesses{by: make(map[netip.Prefix]time.Time)} }

// Take counts a guess of an address before it is looked at. Where there were too many
// it returns how long to wait.
func (g *Guesses) Take(a netip.Addr) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, key := time.Now(), publicaddr.OneOf(a)
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

// PutBack takes a guess back that was right.
func (g *Guesses) PutBack(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := publicaddr.OneOf(a)
	if clear, ok := g.by[key]; ok {
		g.by[key] = clear.Add(-guessEvery)
	}
}

// forgetLocked makes room: those go first that nothing is held against, and if there
// is none, any.
func (g *Guesses) forgetLocked(now time.Time) {
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
