package names

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/internal/keyname"
)

const (
	// MaxTokens is how many tokens the record keeps.
	MaxTokens = 10_000
	// maxDevices is how many names made from keys one token with a number of uses
	// opens: they are kept with it.
	maxDevices = 1000
	// secretBytes is how many random bytes a token's secret has.
	secretBytes = 24
	// secretPrefix begins each secret, so that one that has leaked is found.
	secretPrefix = "keystay-"
)

// ErrNone is wrapped by the error of a lever that is pulled on what there is not: a
// grant, a ban, a pattern or a token.
var ErrNone = errors.New("there is none")

// A Token is a secret that admits new names.
type Token struct {
	Secret string
	// Names are whole names, or "*." and the name below which all are meant.
	Names []string
}

// A TokenInfo is a token of the record. Its secret is not kept.
type TokenInfo struct {
	ID      string    `json:"id"`    // 16 hexadecimal digits, made from the secret
	Names   []string  `json:"names"` // as in Token
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`   // zero is never
	Uses    int       `json:"uses,omitempty"`     // how many names it opens; 0 is any number
	Used    int       `json:"used"`               // how many it has opened
	Bind    bool      `json:"bind,omitempty"`     // the first identity that uses it is the only one
	BoundTo string    `json:"bound_to,omitempty"` // that identity
	Note    string    `json:"note,omitempty"`
	// Devices are the identities that have the name made from their key by it, each of
	// which is one of those that it has opened; of a token with Uses, maxDevices at most.
	Devices []string `json:"devices,omitempty"`
	// Limits are what the operator allows the names that it opens, by the names of
	// the keys; package names keeps them and does not read them.
	Limits map[string]string `json:"limits,omitempty"`
}

// tokenID is the id of a token whose secret has this hash.
func tokenID(hash []byte) string { return hex.EncodeToString(hash[:8]) }

// CreateToken makes a token as info says, without ID, Created, Used and BoundTo,
// and returns its secret, which is kept nowhere. Expires is by the machine's clock,
// and in what is returned by the record's time.
func (n *Names) CreateToken(info TokenInfo) (secret string, made TokenInfo, err error) {
	if len(info.Names) == 0 {
		return "", info, errors.New("a token without names opens none")
	}
	random := make([]byte, secretBytes)
	rand.Read(random)
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random)
	hash := sha256.Sum256([]byte(secret))
	info.ID, info.Used, info.BoundTo, info.Devices = tokenID(hash[:]), 0, "", nil
	expires := info.Expires
	err = n.update(func(l *ledger) error {
		if l.Count(tableTokens) >= MaxTokens {
			return fmt.Errorf("there are %d tokens already: revoke some", MaxTokens)
		}
		info.Created, info.Expires = l.Now(), l.ends(expires)
		return putToken(l, hash[:], &info)
	})
	return secret, info, err
}

// ListTokens returns those of the record, the oldest first.
func (n *Names) ListTokens() (list []TokenInfo, err error) {
	err = n.view(func(l *ledger) error {
		for k, v := range l.From(tableTokens, nil) {
			t, err := parseToken(k, v)
			if err != nil {
				return err
			}
			list = append(list, *t)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b TokenInfo) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return list, err
}

// RevokeToken takes a token away. With its names, those that it has opened are
// released too: whoever has them loses them at once. The error wraps ErrNone when
// there is no such token.
func (n *Names) RevokeToken(id string, withNames bool) (released []string, err error) {
	var held []Lost
	err = n.update(func(l *ledger) error {
		held = nil
		key, t, err := l.tokenByID(id)
		switch {
		case err != nil:
			return err
		case t == nil:
			return fmt.Errorf("token %s: %w", id, ErrNone)
		}
		if err := l.Set(tableTokens, key, nil); err != nil || !withNames {
			return err
		}
		held, err = l.openedBy(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		released = append(released, h.Denied.Name)
		n.lost(h.Key, &h.Denied)
		n.changed(Change{What: "released", Name: h.Denied.Name, Key: h.Key, Token: id, Reason: h.Denied.Text})
	}
	return released, nil
}

// tokenByID returns the token with an id, and its key; or nil.
func (l *ledger) tokenByID(id string) (key []byte, t *TokenInfo, err error) {
	start, err := hex.DecodeString(id)
	if err != nil || len(start) == 0 {
		return nil, nil, nil
	}
	for k, v := range l.From(tableTokens, start) {
		if tokenID(k) != id {
			break
		}
		t, err = parseToken(k, v)
		return bytes.Clone(k), t, err
	}
	return nil, nil, nil
}

// openedBy lets the names lapse that a token has opened.
func (l *ledger) openedBy(id string) (held []Lost, err error) {
	grants := map[string]*grant{}
	for k, v := range l.From(tableGrants, nil) {
		if !bytes.Contains(v, []byte(id)) {
			continue
		}
		gr, err := parseGrant(v)
		if err != nil {
			return nil, err
		}
		if gr.Token == id && gr.Until.IsZero() {
			grants[string(k)] = gr
		}
	}
	for name, gr := range grants {
		if err := l.lapse(name, gr, l.Now().Add(GraceTime)); err != nil {
			return nil, err
		}
		held = append(held, Lost{gr.Key, Denied{Name: name, Code: DeniedToken, Text: "the token that opened this name was revoked"}})
	}
	return held, nil
}

func putToken(l *ledger, hash []byte, t *TokenInfo) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return l.Set(tableTokens, hash, b)
}

func parseToken(k, v []byte) (*TokenInfo, error) {
	var t TokenInfo
	if err := json.Unmarshal(v, &t); err != nil || len(k) != sha256.Size || t.ID != tokenID(k) {
		return nil, fmt.Errorf("%w: a token cannot be read", ErrDamaged)
	}
	return &t, nil
}

// An admission is what the token that came with a claim is good for.
type admission struct {
	admits  bool       // it is for the name
	exactly bool       // it names it in full
	id      string     // of a token of the record; else empty
	names   int        // how many names its identity may hold; 0 is as all others
	hash    []byte     // of the secret of a token of the record
	token   *TokenInfo // that token; nil for one of the rules, and where there is none
	wrong   string     // why a token of the record is good for nothing now; else empty
}

// why says why the token does not admit the name.
func (a *admission) why() string { return cmp.Or(a.wrong, "the token is not valid for this name") }

// use counts the name that the token opens.
func (a *admission) use(l *ledger, c *Claimant) error {
	if a.token == nil {
		return nil
	}
	t := *a.token
	t.Used++
	if t.Bind {
		t.BoundTo = keyname.Label(c.Key, "")
	}
	return putToken(l, a.hash, &t)
}

// findToken looks for the token of a claim in the record and in the list. Whether
// one is in the list takes a time that does not depend on where it fails; one of
// the record is looked up by its hash.
func findToken(l *ledger, list []Token, c *Claimant) (a admission, err error) {
	hash := sha256.Sum256([]byte(c.Token))
	for i := range list {
		want := sha256.Sum256([]byte(list[i].Secret))
		here, whole := admits(list[i].Names, c.Name)
		if same := subtle.ConstantTimeCompare(hash[:], want[:]) == 1 && list[i].Secret != ""; same {
			a.admits, a.exactly = a.admits || here, a.exactly || whole
		}
	}
	if a.admits || c.Token == "" {
		return a, nil
	}
	v := l.Get(tableTokens, hash[:])
	if v == nil {
		return a, nil
	}
	t, err := parseToken(hash[:], v)
	if err != nil {
		return a, err
	}
	if a.wrong = t.wrongFor(l.Now(), c); a.wrong != "" {
		return a, nil
	}
	a.admits, a.exactly = admits(t.Names, c.Name)
	a.names, _ = strconv.Atoi(t.Limits["names"]) // else as all others
	a.id, a.token, a.hash = t.ID, t, hash[:]
	return a, nil
}

// opened reports whether the claim is one of the name made from the claimant's key,
// and the token has opened that name.
func (t *TokenInfo) opened(c *Claimant) bool {
	label := keyname.Label(c.Key, "")
	return strings.HasPrefix(c.Name, label+".") && slices.Contains(t.Devices, label)
}

// knows reports whether a claim of the name made from the claimant's key changes
// nothing of the token.
func (t *TokenInfo) knows(c *Claimant) bool {
	return (!t.Bind || t.BoundTo != "") && (t.Uses == 0 || t.opened(c))
}

// useForKeyName counts the name made from the claimant's key among those that the
// token opens, once.
func (a *admission) useForKeyName(l *ledger, c *Claimant) error {
	t := *a.token
	label := keyname.Label(c.Key, "")
	if t.Bind {
		t.BoundTo = label
	}
	if t.Uses > 0 && !t.opened(c) {
		t.Used++
		t.Devices = append(slices.Clone(t.Devices), label)
	}
	return putToken(l, a.hash, &t)
}

// wrongFor says why the token is not good for anything now, or returns nothing.
func (t *TokenInfo) wrongFor(now time.Time, c *Claimant) string {
	switch {
	case !t.Expires.IsZero() && now.After(t.Expires):
		return "the token has expired"
	case t.Bind && t.BoundTo != "" && t.BoundTo != keyname.Label(c.Key, ""):
		return "the token is bound to the device that used it first"
	case t.Uses > 0 && (t.Used >= t.Uses || len(t.Devices) >= maxDevices) && !t.opened(c):
		return "the token is used up"
	}
	return ""
}

// anyToken reports whether the token of a claim is valid, whatever it is for.
func anyToken(l *ledger, list []Token, c *Claimant) (valid bool, a admission, err error) {
	a, err = findToken(l, list, c)
	if err != nil {
		return false, a, err
	}
	for i := range list {
		if subtle.ConstantTimeCompare([]byte(list[i].Secret), []byte(c.Token)) == 1 && c.Token != "" {
			valid = true
		}
	}
	return valid || a.token != nil, a, nil
}

// admits reports whether names, of a token, have name among them, and whether they
// have it in full.
func admits(names []string, name string) (admits, exactly bool) {
	for _, n := range names {
		if n == name {
			return true, true
		}
		below, ok := strings.CutPrefix(n, "*")
		admits = admits || ok && strings.HasSuffix(name, below)
	}
	return admits, false
}
