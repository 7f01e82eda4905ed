package gate

import "net/netip"

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
