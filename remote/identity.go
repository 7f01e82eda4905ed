package remote

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/ownfile"
)

// An IdentityInfo is what a state directory has of the device's identity.
type IdentityInfo struct {
	Label     string `json:"label"`      // made from the key, 32 characters
	PublicKey string `json:"public_key"` // Ed25519, 32 bytes in base64
	StateDir  string `json:"state_dir"`
	// Run is the number of the last start.
	Run uint64 `json:"run"`
	// Names are those that were served from here, in their order.
	Names []ServedName `json:"names"`
	// Handovers are earlier identities of this device that some relay does not know
	// yet to have handed over, the oldest first.
	Handovers []PendingHandover `json:"handovers"`
}

// A ServedName is a name that was served from a state directory.
type ServedName struct {
	Name    string   `json:"name"`
	Relays  []string `json:"relays"`
	Service string   `json:"service,omitempty"` // what stood behind it
	FromKey bool     `json:"from_key"`          // it is made from the key, and moves to no other key
}

// A PendingHandover is an earlier identity that has handed over.
type PendingHandover struct {
	Label  string         `json:"label"`
	Relays []WaitingRelay `json:"relays"` // that have not heard of it
}

// A WaitingRelay is a relay that has not heard of a hand-over, and the names that the
// old identity had there; none where they are all made from its key.
type WaitingRelay struct {
	Relay string   `json:"relay"`
	Names []string `json:"names"`
}

// ShowIdentity returns what a state directory has. It changes nothing. The error wraps
// [ErrNoIdentity] where there is no identity.
func ShowIdentity(stateDir string) (info IdentityInfo, err error) {
	s, unlock, err := readingIdentity(stateDir)
	if err != nil {
		return info, err
	}
	defer unlock()
	return s.info()
}

// lockIdentity is lockState for a directory that has an identity, which it reads.
func lockIdentity(dir string) (s *state, unlock func() error, err error) {
	if dir == "" {
		return nil, nil, errors.New("no state directory given")
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) { // it is not made
		if link := ownfile.Dangling(dir); link != nil {
			return nil, nil, link
		}
		return nil, nil, fmt.Errorf("%w in %s", ErrNoIdentity, dir)
	}
	if s, unlock, err = lockState(dir); err != nil {
		return nil, nil, err
	}
	err = s.readIdentity()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w in %s", ErrNoIdentity, dir)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return s, unlock, nil
}

// readingIdentity is lockIdentity for whoever changes nothing. A directory that this user
// may read and not write, such as a copy that is mounted read-only, is read without the
// lock: each file is replaced as a whole.
func readingIdentity(dir string) (s *state, unlock func() error, err error) {
	s, unlock, err = lockIdentity(dir)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return s, unlock, err
	}
	s = &state{dir: dir}
	if halfImported(s.dir) || s.readIdentity() != nil {
		return nil, nil, err
	}
	return s, func() error { return nil }, nil
}

func (s *state) info() (info IdentityInfo, err error) {
	info = IdentityInfo{Label: labelOf(s.public()), PublicKey: base64.StdEncoding.EncodeToString(s.public()), StateDir: s.dir,
		Names: []ServedName{}, Handovers: []PendingHandover{}}
	if info.Run, err = s.lastRun(); err != nil {
		return info, err
	}
	err = s.eachServed(func(name string, how served) {
		info.Names = append(info.Names, ServedName{Name: cmp.Or(how.Public, name), Relays: how.Relays, Service: how.Service, FromKey: how.Made})
	})
	if err != nil {
		return info, err
	}
	list, err := s.loadHandovers(s.public())
	for _, h := range pending(list) {
		p := PendingHandover{Label: labelOf(h.public()), Relays: []WaitingRelay{}}
		for _, w := range h.Waiting {
			p.Relays = append(p.Relays, WaitingRelay{Relay: w.Relay, Names: slices.Concat([]string{}, w.Names)})
		}
		info.Handovers = append(info.Handovers, p)
	}
	return info, err
}

// A Rotation says what a new key does to the names of a device.
type Rotation struct {
	Old string // the label of the identity that hands over
	New string // that of its heir; empty before there is one
	// Waiting are the relays that have to hear of it.
	Waiting []WaitingRelay
	// Ending are names made from the old key: no other key can have them.
	Ending []string
	// Domains are names that are not below a relay: DNS has to name the new key for
	// them within the time that a relay gives.
	Domains []string
}

// A KeyNamesError says that names would end with a new key.
type KeyNamesError struct{ Names []string }

func (e *KeyNamesError) Error() string {
	return fmt.Sprintf("%s is made from the key, and ends with it: nothing was changed", e.Names[0])
}

// Hints says what to do, in one line each.
func (e *KeyNamesError) Hints() []string { return hint.KeyNamesEnd.Do }

// RotateIdentity gives the device of a state directory a new key, and hands over to it
// the names of the old one. No relay is dialled: a run takes the new key up with its next
// start, or by Listener.TakeUpIdentity, and shows each relay the hand-over. The old key
// is kept until all relays that have given a name have granted one to the new key.
//
// The error is a *KeyNamesError where names made from the old key would end and
// endNames is false, and wraps a *DamagedError where it cannot be read how a name was
// served; then nothing has changed.
func RotateIdentity(stateDir string, endNames bool) (r Rotation, err error) {
	s, unlock, err := lockIdentity(stateDir)
	if err != nil {
		return r, err
	}
	defer unlock()
	paid, err := s.awaitPaid()
	if err != nil {
		return r, fmt.Errorf("the key was not changed: %w", err)
	}
	defer paid()
	givers, made, err := s.givers()
	if err != nil {
		return r, fmt.Errorf("the key was not changed: %w", err)
	}
	old := s.public()
	r.Old, r.Ending = labelOf(old), made
	for _, w := range givers {
		r.Waiting = append(r.Waiting, WaitingRelay(w))
		for _, name := range w.Names {
			if !hostname.IsBelow(name, w.Relay) && !slices.Contains(r.Domains, name) {
				r.Domains = append(r.Domains, name)
			}
		}
	}
	if len(made) > 0 && !endNames {
		return r, &KeyNamesError{Names: made}
	}
	list, err := s.loadHandovers(s.public())
	if err != nil {
		return r, err
	}
	if wait := pending(list); len(wait) >= framing.MaxHandovers {
		return r, hint.TooManyHandovers.Error(fmt.Errorf("the device has changed its key %d times, and %s has heard of none of it", len(wait), wait[0].Waiting[0].Relay),
			"FILE", s.path(handoversFile))
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return r, fmt.Errorf("make a key: %w", err)
	}
	if err := s.rotateTo(key, list, givers); err != nil {
		return r, err
	}
	r.New = labelOf(s.public())
	for _, name := range made { // it is remembered under the new name, so that the next start finds the relay
		if err := s.renameMade(name, old); err != nil {
			return r, err
		}
	}
	return r, nil
}

// rotateTo makes key the identity: see the head of state_handover.go.
func (s *state) rotateTo(key ed25519.PrivateKey, list []handover, givers []waiting) error {
	signed := framing.NewHandover(s.key, key)
	h := handover{Old: s.key.Seed(), New: signed.New, OldSigned: signed.OldSigned, NewSigned: signed.NewSigned, Waiting: givers}
	next := append(slices.Clone(newest(list, framing.MaxHandovers-1)), h.settled())
	if err := s.saveHandovers(next); err != nil {
		return fmt.Errorf("the key was not changed: %w", err)
	}
	return s.writeIdentity(key)
}
