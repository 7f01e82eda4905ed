package gate

import "keystay/internal/signin"

const (
	// MaxUser is the longest name of a user, in bytes.
	MaxUser = signin.MaxUser
	// MaxUsers is how many users Passwords may have.
	MaxUsers = signin.MaxUsers
)

// Passwords are users with the bcrypt hashes of their passwords. They do not change.
type Passwords = signin.Passwords

// ParsePasswords reads lines of USER:HASH, as htpasswd -B writes them. Empty lines
// and lines that begin with # are skipped. A name has up to MaxUser bytes of UTF-8 and
// neither a colon nor control characters. The hash is one of bcrypt with a cost of 4
// to 15. An error names the line, has hints, and repeats no hash.
func ParsePasswords(text []byte) (*Passwords, error) { return signin.Parse(text) }
