package relay

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"

	"keystay/framing"
	"keystay/internal/keyname"
)

// A Policy says who may take a new name.
type Policy string

const (
	// Open gives a free name to whoever claims it first.
	Open Policy = "open"
	// WithToken gives a free name to whoever shows a token for it.
	WithToken Policy = "token"
	// Closed gives out no new names.
	Closed Policy = "closed"
)

// A Token is a secret that admits new names.
type Token struct {
	Secret string
	// Names are whole names, or "*." and the name below which all are meant.
	Names []string
}

// admits reports whether the token is for name.
func (t *Token) admits(name string) bool {
	for _, n := range t.Names {
		if below, ok := strings.CutPrefix(n, "*"); ok && strings.HasSuffix(name, below) || n == name {
			return true
		}
	}
	return false
}

// Names decides which identity may use which name.
type Names struct {
	Policy Policy // empty means Open
	Tokens []Token
	Grants *Grants // what was given out; required
}

// claim decides whether the identity may use name, which is normalised, below
// zone, and remembers it if so. All rules are here. The error is a
// *framing.Denial, or says why it could not be decided.
func (n *Names) claim(zone, name string, key ed25519.PublicKey, token string) error {
	deny := func(code framing.DenialCode, text string) error {
		return &framing.Denial{Name: name, Code: code, Text: text}
	}
	label, ok := strings.CutSuffix(name, "."+zone)
	if !ok {
		return deny(framing.DeniedInvalid, "not a name below "+zone)
	}
	// A label made from a key is for that key, whatever the policy, and so is
	// what is below it, also before that key has come.
	made := label[strings.LastIndexByte(label, '.')+1:]
	if keyname.Is(made) && made != keyname.Label(key, "") {
		return deny(framing.DeniedTaken, "this label is made from another device's key")
	}
	if made == label && keyname.Is(made) {
		return n.Grants.keep(name, key)
	}
	// Whoever holds a name holds the names below it.
	for at := name; at != zone; _, at, _ = strings.Cut(at, ".") {
		holder, err := n.Grants.holder(at)
		if err != nil {
			return err
		}
		if holder != nil && !holder.Equal(key) {
			return taken(name)
		}
		if holder != nil && at == name {
			return n.Grants.keep(name, key)
		}
	}
	switch n.Policy {
	case Open, "":
	case WithToken:
		if !n.tokenFor(name, token) {
			if token == "" {
				return deny(framing.DeniedToken, "this relay asks for a token")
			}
			return deny(framing.DeniedToken, "the token is not valid for this name")
		}
	default:
		return deny(framing.DeniedClosed, "this relay gives out no new names")
	}
	return n.Grants.keep(name, key)
}

// taken is the denial of a name that another identity holds.
func taken(name string) *framing.Denial {
	return &framing.Denial{Name: name, Code: framing.DeniedTaken, Text: "it belongs to another device"}
}

// tokenFor looks for a token in a time that does not depend on where it fails.
func (n *Names) tokenFor(name, token string) bool {
	got := sha256.Sum256([]byte(token))
	found := 0
	for i := range n.Tokens {
		want := sha256.Sum256([]byte(n.Tokens[i].Secret))
		if n.Tokens[i].Secret != "" && n.Tokens[i].admits(name) {
			found |= subtle.ConstantTimeCompare(got[:], want[:])
		}
	}
	return found == 1
}

// known reports whether name was given out to anybody. The error says why that
// cannot be told now.
func (n *Names) known(name string) (bool, error) {
	holder, err := n.Grants.holder(name)
	return holder != nil, err
}

// seen notes that the identity has used its names until now.
func (n *Names) seen(names []string, key ed25519.PublicKey) (err error) {
	for _, name := range names {
		holder, herr := n.Grants.holder(name)
		if holder.Equal(key) { // what has expired is not given anew here
			herr = n.Grants.keep(name, key)
		}
		err = errors.Join(err, herr)
	}
	return err
}
