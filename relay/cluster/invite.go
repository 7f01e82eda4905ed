package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"keystay/internal/ownfile"
)

const (
	// InviteTime is how long an invitation counts.
	InviteTime = time.Hour
	// maxInvites is how many may be open at once.
	maxInvites = 16
	// maxGuesses is how many wrong secrets of open invitations are looked at in a minute, of
	// everybody together. Beyond them the right one is refused as well. Whoever has no
	// invitation knows of none that is open, and guesses nothing.
	maxGuesses = 10
	// invitePrefix begins the text of an invitation.
	invitePrefix = "keystay-join-1."
)

// An Invite is a secret with which one machine may become a node, once.
type Invite struct {
	Address string   // of the node that has made it, host:port
	CA      [32]byte // SHA-256 of the CA's certificate
	ID      [8]byte  // of the invitation
	Secret  [16]byte
	Until   time.Time // not in its text
}

// String returns the invitation as the text that ParseInvite reads.
func (v *Invite) String() string {
	b := append(append(append([]byte{}, v.CA[:]...), v.ID[:]...), v.Secret[:]...)
	return invitePrefix + base64.RawURLEncoding.EncodeToString(append(b, v.Address...))
}

// errNoInvite is the error of a text that is no invitation.
var errNoInvite = errors.New("not an invitation, as relay cluster invite prints it")

// ParseInvite reads the text of an invitation.
func ParseInvite(text string) (*Invite, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), invitePrefix)
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	const fixed = 32 + 8 + 16
	if !ok || err != nil || len(b) <= fixed || len(b) > fixed+300 {
		return nil, errNoInvite
	}
	v := &Invite{Address: string(b[fixed:])}
	copy(v.CA[:], b)
	copy(v.ID[:], b[32:])
	copy(v.Secret[:], b[40:])
	if _, _, err := net.SplitHostPort(v.Address); err != nil {
		return nil, errNoInvite
	}
	return v, nil
}

// kept is an invitation as it is kept: who reads the file cannot use it.
type kept struct {
	Sum   string    `json:"sum"` // SHA-256 of the secret, in hexadecimal
	Until time.Time `json:"until"`
}

// Invite makes an invitation, to be taken at a node's address.
func (a *Authority) Invite(address string) (*Invite, error) {
	dir := a.dir.file("invites")
	if err := ownfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	if n := a.sweep(dir); n >= maxInvites {
		return nil, fmt.Errorf("%d invitations are open, which is as many as may be: each ends after %v", n, InviteTime)
	}
	v := &Invite{Address: address, CA: sha256.Sum256(a.cert.Raw), Until: time.Now().Add(InviteTime).UTC().Truncate(time.Second)}
	rand.Read(v.ID[:])
	rand.Read(v.Secret[:])
	sum := sha256.Sum256(v.Secret[:])
	b, err := json.Marshal(kept{hex.EncodeToString(sum[:]), v.Until})
	if err != nil {
		return nil, err
	}
	return v, ownfile.Write(filepath.Join(dir, hex.EncodeToString(v.ID[:])), b)
}

// sweep removes the invitations whose time is over, and returns how many are left.
func (a *Authority) sweep(dir string) (n int) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		file := filepath.Join(dir, f.Name())
		if k, err := readKept(file); err != nil || !time.Now().Before(k.Until) {
			os.Remove(file)
		} else {
			n++
		}
	}
	return n
}

func readKept(file string) (k kept, err error) {
	b, err := ownfile.Read(file)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	return k, err
}

// errNotInvited is what whoever has no good invitation is told, whatever is wrong with it.
var errNotInvited = errors.New("the invitation is wrong, was used, or its time is over")

// take uses an invitation up. Of several that come with one at once, one gets it.
func (a *Authority) take(id, secret []byte, guesses *guesses) error {
	file := filepath.Join(a.dir.file("invites"), hex.EncodeToString(id))
	k, err := readKept(file)
	if err != nil {
		return errNotInvited
	}
	if !guesses.may() {
		return errors.New("too many wrong invitations have come: try again in a minute")
	}
	sum := sha256.Sum256(secret)
	want, _ := hex.DecodeString(k.Sum)
	if subtle.ConstantTimeCompare(sum[:], want) != 1 || !time.Now().Before(k.Until) || os.Remove(file) != nil {
		guesses.wrong()
		return errNotInvited
	}
	return nil
}

// guesses bounds how many wrong invitations are looked at. The zero value is ready.
type guesses struct {
	mu    sync.Mutex
	n     int
	since time.Time
}

func (g *guesses) may() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.since) >= time.Minute {
		g.n, g.since = 0, time.Now()
	}
	return g.n < maxGuesses
}

func (g *guesses) wrong() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}
