package gate

import (
	"context"
	"net/netip"
)

// MaxGuessers is for tests.
const MaxGuessers = maxGuessers

// FillHashing takes all places in which passwords are looked at, until it is released.
func (s *Store) FillHashing() (release func()) {
	for range cap(s.hashing.places) {
		s.hashing.places <- struct{}{}
	}
	return func() {
		for range cap(s.hashing.places) {
			<-s.hashing.places
		}
	}
}

// Cost is how many rounds of bcrypt a look at a user's password costs.
func (p *Passwords) Cost(user string) (rounds int) {
	for _, hash := range p.work(user) {
		rounds += 1 << costOf(hash)
	}
	return rounds
}

// Guess takes a guess of an address, in nanoseconds to wait.
func (s *Store) Guess(address string) int64 {
	return int64(s.guesses.take(netip.MustParseAddr(address)))
}

// Guessers is how many addresses are remembered.
func (s *Store) Guessers() int { return len(s.guesses.by) }

// EndBeforeWatch ends the session of a cookie when it has been read for a request, and
// reports whether that request is not let in.
func EndBeforeWatch(g *Gate, cookie string) bool {
	r := g.rules[0]
	s := r.open(cookie)
	if s == nil || g.store.sessions.end(g.name, s) != nil {
		return false
	}
	_, _, ok := g.store.sessions.watch(context.Background(), g, &running{name: g.name, rule: r.id, by: let{session: s}})
	return !ok
}
