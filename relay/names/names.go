package names

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

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

// admits reports whether the token is for name, and whether it names it in full.
func (t *Token) admits(name string) (admits, exactly bool) {
	for _, n := range t.Names {
		if n == name {
			return true, true
		}
		below, ok := strings.CutPrefix(n, "*")
		admits = admits || ok && strings.HasSuffix(name, below)
	}
	return admits, false
}

// Names decides which identity may use which name.
type Names struct {
	Policy Policy // empty means Open
	Tokens []Token
	Grants *Grants // what was given out; required

	replaced atomic.Pointer[[]Token] // see SetTokens

	zone   string // set by Begin
	recent recent // labels made from keys
}

// SetTokens replaces Tokens, from the next claim on. What was given out stays.
func (n *Names) SetTokens(list []Token) { n.replaced.Store(&list) }

func (n *Names) tokens() []Token {
	if list := n.replaced.Load(); list != nil {
		return *list
	}
	return n.Tokens
}

// Begin is called once, before anything else, with the name below which all
// names are.
func (n *Names) Begin(zone string) {
	n.zone = zone
	n.Grants.begin(zone)
	n.recent.begin()
}

// A Claimant is who asks for a name.
type Claimant struct {
	Name  string // normalised
	Key   ed25519.PublicKey
	Token string
}

func (c *Claimant) deny(code Code, text string) *Denied {
	return &Denied{Name: c.Name, Code: code, Text: text}
}

// errTooMany says that more grants have expired than one claim sweeps.
var errTooMany = errors.New("too many names below it have expired and are not swept yet")

// Claim decides whether the identity may use name, which is normalised, and
// remembers it if so. The error is a *Denied, or says why it could not be decided.
//
// What is read and what is written is one transaction, so that of two claims at
// once the second one sees the first. Before it the same is asked of a transaction
// that only reads: who is denied, or comes back, costs no write.
func (n *Names) Claim(c Claimant) error {
	if len(c.Key) != ed25519.PublicKeySize {
		return c.deny(DeniedInvalid, "no device's key")
	}
	if label, alone := madeBy(c.Name, n.zone); label != "" {
		// A label made from a key is for that key, whatever the policy, and so is
		// what is below it, also before that key has come. The label is kept nowhere:
		// it proves itself.
		if label != keyname.Label(c.Key, "") {
			return c.deny(DeniedTaken, "this label is made from another device's key")
		}
		if alone {
			n.recent.add(c.Name)
			return nil
		}
	}
	var own bool
	var denial *Denied
	err := n.Grants.view(func(l *ledger) (err error) {
		own, denial, err = n.decide(l, &c)
		return err
	})
	switch {
	case err != nil:
		return err
	case own:
		// The name is the identity's, also while that it is seen now cannot be
		// written down, as on a disk that is full.
		_ = n.Grants.renew([]Holding{{c.Name, c.Key}})
		return nil
	case denial == nil:
		err = n.Grants.update(func(l *ledger) (err error) {
			own, denial, err = n.decide(l, &c)
			if err != nil || own || denial != nil {
				return err
			}
			if _, err := l.sweep(sweptByClaim); err != nil {
				return err
			}
			return l.put(c.Name, c.Key)
		})
	}
	if err == nil && denial != nil {
		return denial
	}
	return err
}

// sweptByClaim is how many expired grants a claim drops before it adds one: more
// than one, so that they become fewer.
const sweptByClaim = 4

// decide is the one place where it is decided what an identity may claim: own
// says that the name is its already; else denial says why it may not have it, or
// is nil when it may. A denial is no error, which would undo what others write in
// the same transaction.
//
// A name is nobody's to claim when somebody else has a grant above or below it.
// Above, because who has a name has what is below it. Below, because who has the
// parent of a name is taken for its relay, can set its cookies, and would deny
// its holder all further names there. A token that names the name in full is the
// operator's word and beats what is below, not what is above: nothing else would
// ever free the name. Older versions have given out names above somebody else's
// without one. Such grants stand, both of them: each holder keeps what it has,
// and only gets nothing new where the other one is above or below.
func (n *Names) decide(l *ledger, c *Claimant) (own bool, denial *Denied, err error) {
	if !strings.HasSuffix(c.Name, "."+n.zone) {
		return false, c.deny(DeniedInvalid, "not a name below "+n.zone), nil
	}
	for at := c.Name; at != n.zone; _, at, _ = strings.Cut(at, ".") {
		gr, err := l.get(at)
		if err != nil {
			return false, nil, err
		}
		if gr != nil && !bytes.Equal(gr.Key, c.Key) {
			return false, Taken(c.Name), nil
		}
		if gr != nil && at == c.Name {
			return true, nil, nil
		}
	}
	other, err := l.below(c.Name, c.Key)
	switch {
	case errors.Is(err, errTooMany):
		return false, c.deny(DeniedUnavailable, err.Error()), nil
	case err != nil:
		return false, nil, err
	}
	admits, exactly := n.tokenFor(c.Name, c.Token)
	if other && !exactly {
		return false, c.deny(DeniedTaken, "a name below it belongs to another device"), nil
	}
	if denial := n.admit(c, admits, exactly); denial != nil {
		return false, denial, nil
	}
	denial, err = room(l, c)
	return false, denial, err
}

// admit says whether the policy gives out the name, which is free: nil, or why
// not. The token admits the name, and perhaps names it in full.
func (n *Names) admit(c *Claimant, admits, exactly bool) *Denied {
	switch {
	case n.Policy == Open || n.Policy == "":
	case n.Policy == WithToken && c.Token == "":
		return c.deny(DeniedToken, "this relay asks for a token")
	case n.Policy == WithToken && !admits:
		return c.deny(DeniedToken, "the token is not valid for this name")
	case n.Policy != WithToken:
		return c.deny(DeniedClosed, "this relay gives out no new names")
	}
	if reserved(c.Name, n.zone) && !exactly {
		return c.deny(DeniedToken, "this name is reserved: it takes a token of the relay's operator that has the very name")
	}
	return nil
}

// room says whether there is room for one more name: nil, or why not.
func room(l *ledger, c *Claimant) (*Denied, error) {
	held, err := l.held(c.Key)
	switch {
	case err != nil:
		return nil, err
	case held >= MaxNamesPerIdentity:
		return c.deny(DeniedLimit, fmt.Sprintf("a device may hold %d names here", MaxNamesPerIdentity)), nil
	case l.full():
		return c.deny(DeniedLimit, "this relay has given out all its names"), nil
	}
	return nil, nil
}

// tokenFor looks for a token in a time that does not depend on where it fails.
func (n *Names) tokenFor(name, token string) (admits, exactly bool) {
	got := sha256.Sum256([]byte(token))
	tokens := n.tokens()
	for i := range tokens {
		want := sha256.Sum256([]byte(tokens[i].Secret))
		here, whole := tokens[i].admits(name)
		if same := subtle.ConstantTimeCompare(got[:], want[:]) == 1 && tokens[i].Secret != ""; same {
			admits, exactly = admits || here, exactly || whole
		}
	}
	return admits, exactly
}

// Look reports whether a visitor of name waits for it: it was given out to
// somebody, or is a label made from a key that was here lately. The error says
// why that cannot be told now. If it is that the record is closed, opened is
// closed when the record is open again; else opened is nil.
func (n *Names) Look(name string) (known bool, opened <-chan struct{}, err error) {
	if _, alone := madeBy(name, n.zone); alone {
		return n.recent.has(name), nil, nil
	}
	opened = n.Grants.whenOpen() // before it is asked, so that no opening is missed
	holder, err := n.Grants.holder(name)
	if !errors.Is(err, errClosed) {
		opened = nil
	}
	return holder != nil, opened, err
}

// HolderOf stands for the identity that the record gives name to, if there is one,
// so that names of one identity count together.
func (n *Names) HolderOf(name string) (holder string, owned bool) {
	if key, err := n.Grants.holder(name); err == nil && key != nil {
		return keyname.Label(key, ""), true
	}
	return "", false
}

// Remember notes the labels made from keys among names that go away now: their
// visitors wait.
func (n *Names) Remember(names []string) {
	for _, name := range names {
		if _, alone := madeBy(name, n.zone); alone {
			n.recent.add(name)
		}
	}
}

// Seen notes that the identity has used its names until now.
func (n *Names) Seen(names []string, key ed25519.PublicKey) error {
	var list []Holding
	for _, name := range names {
		if _, alone := madeBy(name, n.zone); !alone {
			list = append(list, Holding{name, key})
		}
	}
	if list == nil {
		return nil
	}
	return n.Grants.renew(list)
}
