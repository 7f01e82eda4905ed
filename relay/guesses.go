package relay

import (
	"crypto/sha256"
	"slices"
)

// maxGuesses is how many different tokens a link may show for names that it is
// denied. A remote has one for each of its services at most; a peer that guesses must
// dial again after so many.
const maxGuesses = 8

// guesses are the tokens that a link has shown for names that it was denied. The
// same one for several names is one guess.
type guesses [][sha256.Size]byte

// spent reports whether token is one too many.
func (g guesses) spent(token string) bool {
	return len(g) >= maxGuesses && token != "" && !slices.Contains(g, sha256.Sum256([]byte(token)))
}

// add notes a token for a name that was denied.
func (g *guesses) add(token string) {
	if sum := sha256.Sum256([]byte(token)); token != "" && len(*g) < maxGuesses && !slices.Contains(*g, sum) {
		*g = append(*g, sum)
	}
}
