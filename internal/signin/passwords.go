package signin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"keystay/internal/hint"
)

const (
	// MaxUser is the longest name of a user, in bytes.
	MaxUser = 256
	// MaxUsers is how many users Passwords may have.
	MaxUsers = 10000
	// MaxPassword is how many bytes of a password are read; bcrypt looks at the first
	// bcryptLength.
	MaxPassword  = 1024
	bcryptLength = 72
	// maxCost is the highest cost of a hash: one look at it takes seconds.
	maxCost = 15
)

// Passwords are users with the bcrypt hashes of their passwords. They do not change.
type Passwords struct {
	hashes map[string][]byte // by user
	cost   int               // the highest
	dummy  []byte            // a hash of nothing that anybody knows, with that cost
}

// Parse reads lines of USER:HASH, as htpasswd -B writes them. Empty lines
// and lines that begin with # are skipped. A name has up to MaxUser bytes of UTF-8 and
// neither a colon nor control characters. The hash is one of bcrypt with a cost of 4
// to 15. An error names the line, has hints, and repeats no hash.
func Parse(text []byte) (*Passwords, error) {
	p := &Passwords{hashes: make(map[string][]byte)}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := p.add(string(line)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(p.hashes) == 0 {
		return nil, hint.GateNoUsers.Error(errors.New("no user with a password"))
	}
	p.dummy = dummyHash(p.cost)
	return p, nil
}

// add takes one line.
func (p *Passwords) add(line string) error {
	user, hash, ok := strings.Cut(line, ":")
	if !ok {
		return hint.GateNotHash.Error(errors.New("no USER:HASH, there is no colon in it"), "USER", "USER")
	}
	switch {
	case user == "" || len(user) > MaxUser || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("the name of a user has 1 to %d bytes of UTF-8, without control characters", MaxUser)
	case p.hashes[user] != nil:
		return fmt.Errorf("the user %q is there twice", user)
	case len(p.hashes) == MaxUsers:
		return fmt.Errorf("more than %d users", MaxUsers)
	}
	if kind := otherHash(hash); kind != "" {
		return hint.GateNotHash.Error(fmt.Errorf("the password of %q is %s, and only hashes of bcrypt are taken", user, kind), "USER", user)
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 || hash[6] != '$' || strings.Trim(hash[7:], bcryptAlphabet) != "" {
		return hint.GateNotHash.Error(fmt.Errorf("the hash of %q is not whole", user), "USER", user)
	}
	if cost > maxCost {
		return hint.GateNotHash.Error(fmt.Errorf("the hash of %q has a cost of %d, at most %d: each look at it would take seconds", user, cost, maxCost), "USER", user)
	}
	p.hashes[user] = []byte(hash)
	p.cost = max(p.cost, cost)
	return nil
}

// bcryptAlphabet are the characters of salt and sum in a hash.
const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// otherHash says what a text is that is no hash of bcrypt, or nothing.
func otherHash(s string) string {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return ""
	case strings.HasPrefix(s, "$apr1$"), strings.HasPrefix(s, "$1$"):
		return "a hash of MD5"
	case strings.HasPrefix(s, "{SHA}"), strings.HasPrefix(s, "{SSHA}"):
		return "a hash of SHA-1"
	case strings.HasPrefix(s, "$5$"):
		return "a hash of SHA-256 crypt"
	case strings.HasPrefix(s, "$6$"):
		return "a hash of SHA-512 crypt"
	case strings.HasPrefix(s, "$y$"):
		return "a hash of yescrypt"
	case strings.HasPrefix(s, "$argon2"):
		return "a hash of Argon2"
	case strings.HasPrefix(s, "$2"):
		return "a hash of an old kind of bcrypt"
	case s == "":
		return "empty"
	}
	return "no hash: a plain password, or one of crypt"
}

// Check reports whether a password is the user's. It costs the same for every user,
// also for one that is not there, and for every password.
func (p *Passwords) Check(user, password string) bool {
	work := p.work(user)
	err := bcrypt.CompareHashAndPassword(work[0], []byte(password[:min(len(password), bcryptLength)]))
	for _, hash := range work[1:] {
		_ = bcrypt.CompareHashAndPassword(hash, nil)
	}
	usable := password != "" && !strings.Contains(password, "\x00") // where C ends it
	return p.hashes[user] != nil && usable && err == nil
}

// work returns the hashes that a look at a user's password is compared with: its own,
// or one that no password fits, and others whose cost makes up for that of the most
// expensive: 2^c + 2^c + 2^(c+1) + … + 2^(n-1) is 2^n.
func (p *Passwords) work(user string) [][]byte {
	hash, known := p.hashes[user]
	if !known {
		hash = p.dummy
	}
	all := [][]byte{hash}
	for cost := costOf(hash); cost < p.cost; cost++ {
		all = append(all, dummyHash(cost))
	}
	return all
}

func costOf(hash []byte) int {
	cost, _ := strconv.Atoi(string(hash[4:6]))
	return cost
}

// dummyHash returns a hash that no password is known for: its salt and sum are those
// of all zeros.
func dummyHash(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

// Credential is what a session of a user is bound to: it changes when the user's
// password does. Nil is no such user.
func (p *Passwords) Credential(user string) []byte { return p.hashes[user] }
