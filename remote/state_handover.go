package remote

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/ownfile"
)

// How the identity is rotated.
//
// RotateIdentity first writes the hand-over from the old key to the new one into
// handoversFile, with the old key, and then the new key into identityFile. Between
// the two the hand-over leads to a key that nobody has, and is left out: the device
// goes on with the old one. After the second the device has the new key, and the old
// one is in handoversFile until each relay has heard. What both keys have signed stays,
// for the last keys.
//
// A device shows a relay what it has not heard yet with its claims, and notes what
// the relay has granted. A run that breaks off in between shows it again, which is no
// error.
//
// Nobody can know of each name that an old key has: a relay may give it one after the
// hand-over was written, as to a run that goes on with it, and a grant may be on its way.
// So a relay that says that a name is another identity's is shown all that there is, once.

const (
	// handoversFile holds what earlier identities hand over to the one of
	// identityFile, and the keys of those that a relay has to hear of.
	handoversFile = "handovers.json"
	// maxHandoversFile is the largest one that is read, in bytes, and so that is written.
	maxHandoversFile = 1 << 20
)

// A handover is one of handoversFile.
type handover struct {
	Old       []byte    `json:"old,omitempty"`        // the seed of the old private key, while a relay waits
	OldPublic []byte    `json:"old_public,omitempty"` // the old public key, from then on
	New       []byte    `json:"new"`                  // the public key
	OldSigned []byte    `json:"old_signed"`
	NewSigned []byte    `json:"new_signed"`
	Waiting   []waiting `json:"waiting"` // the relays that have not heard of it yet
}

// A waiting is a relay that has to hear of a hand-over.
type waiting struct {
	Relay string `json:"relay"` // without a port, in lower case
	// Names are those that were served through it when the key was new, and that are
	// not made from the key. Without any the relay only learns not to trust the old key.
	Names []string `json:"names,omitempty"`
}

// old is the old private key, of a hand-over that a relay waits for.
func (h *handover) old() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(h.Old) }

// public is the old public key.
func (h *handover) public() ed25519.PublicKey {
	if len(h.Old) > 0 {
		return h.old().Public().(ed25519.PublicKey)
	}
	return h.OldPublic
}

// isWhole reports whether a hand-over has the keys that its methods need.
func (h *handover) isWhole() bool {
	if len(h.Waiting) > 0 || len(h.Old) > 0 {
		return len(h.Old) == ed25519.SeedSize
	}
	return len(h.OldPublic) == ed25519.PublicKeySize
}

// settled is h without the private key, where no relay waits for it any more.
func (h handover) settled() handover {
	if len(h.Waiting) == 0 {
		h.Old, h.OldPublic = nil, h.public()
	}
	return h
}

// waits returns what waits for a relay, or nil.
func (h *handover) waits(relay string) *waiting {
	i := slices.IndexFunc(h.Waiting, func(w waiting) bool { return w.Relay == relay })
	if i < 0 {
		return nil
	}
	return &h.Waiting[i]
}

// framed is h as it is sent.
func (h *handover) framed() framing.Handover {
	return framing.Handover{Old: h.public(), New: h.New, OldSigned: h.OldSigned, NewSigned: h.NewSigned}
}

// framed is a list as it is sent.
func framed(list []handover) (all framing.Handovers) {
	for i := range list {
		all = append(all, list[i].framed())
	}
	return all
}

// loadHandovers reads the hand-overs that lead to the identity key. The last may be one from
// it, whose new key was never written: that is left out. What leads elsewhere is damaged, as a
// backup from before the key was changed: the keys in it may be all that a name has.
func (s *state) loadHandovers(key ed25519.PublicKey) ([]handover, error) {
	file := s.path(handoversFile)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var b []byte
	if err == nil && info.Size() <= maxHandoversFile {
		b, err = ownfile.Read(file)
	}
	if err != nil {
		return nil, unusable("read", s.dir, file, err)
	}
	var list []handover
	damaged := json.Unmarshal(b, &list) != nil || slices.ContainsFunc(list, func(h handover) bool { return !h.isWhole() })
	if n := len(list); n > 0 && !damaged {
		if last := &list[n-1]; key.Equal(last.public()) && !key.Equal(ed25519.PublicKey(last.New)) {
			list = list[:n-1]
		}
		damaged = framed(list).Verify(key) != nil // as it is where there are too many
	}
	if damaged {
		return nil, hint.HandoversDamaged.Error(fmt.Errorf("%s is damaged: it holds the keys from before, and what they hand over", file), "FILE", file)
	}
	return list, nil
}

// saveHandovers writes the file, or removes it where there is nothing for it.
func (s *state) saveHandovers(list []handover) error {
	if len(list) == 0 {
		err := os.Remove(s.path(handoversFile))
		if err == nil {
			err = ownfile.SyncDir(s.dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unusable("remove a file in", s.dir, s.path(handoversFile), err)
		}
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("keep what is handed over: %w", err)
	}
	if b = append(b, '\n'); len(b) > maxHandoversFile {
		return hint.HandoversLarge.Error(fmt.Errorf("%s would be larger than is read, with %d bytes: it holds the names that relays have to hear of",
			s.path(handoversFile), len(b)), "FOLDER", s.path(namesDir))
	}
	return s.write(handoversFile, b)
}

// relayHost is a relay as hand-overs name it: whatever port it is dialled at, its
// certificate is for the name.
func relayHost(relay string) string {
	host, _ := splitRelay(relay)
	return strings.ToLower(host)
}

// forRelay returns those that a relay has not heard of: from the first that waits for
// it on, since each leads to the next.
func forRelay(list []handover, relay string) []handover {
	return from(list, func(h handover) bool { return h.waits(relayHost(relay)) != nil })
}

// pending returns those that some relay has not heard of, and what comes after them.
func pending(list []handover) []handover {
	return from(list, func(h handover) bool { return len(h.Waiting) > 0 })
}

// from returns a list from the first that is so on.
func from(list []handover, is func(handover) bool) []handover {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i:]
	}
	return nil
}

// newest returns as many as may be shown at once, the newest.
func newest(list []handover, n int) []handover { return list[max(0, len(list)-n):] }

// heard returns a list as it is when a relay has granted a claim that came with it, up to a
// key, and whether anything has changed. A key that nobody waits for any more is not in it.
func heard(list []handover, relay string, key ed25519.PublicKey) (left []handover, changed bool) {
	upTo := 1 + slices.IndexFunc(list, func(h handover) bool { return key.Equal(ed25519.PublicKey(h.New)) })
	for i, h := range list {
		if i < upTo && h.waits(relayHost(relay)) != nil {
			h.Waiting = slices.DeleteFunc(slices.Clone(h.Waiting), func(w waiting) bool { return w.Relay == relayHost(relay) })
			changed = true
		}
		left = append(left, h.settled())
	}
	return left, changed
}

// noteHeard writes that a relay has granted a claim with hand-overs up to key, and
// returns what is left, which the run then has. Keys that no relay has to hear of any more
// are gone then. The run has it before another process or TakeUpIdentity may read or change
// what is written: so it ends with what was written last.
func (s *state) noteHeard(relay string, key ed25519.PublicKey) ([]handover, error) {
	now, unlock, err := lockState(s.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := now.readIdentity(); err != nil {
		return nil, err
	}
	list, err := now.loadHandovers(now.public())
	if err != nil {
		return nil, err
	}
	left, changed := heard(list, relay, key)
	if changed {
		if err := now.saveHandovers(left); err != nil {
			return nil, err
		}
	}
	s.keys.setList(left)
	return left, nil
}

// givers returns the relays that names are remembered for: those that a hand-over has
// to wait for, and the names made from the key, which end. What cannot be read is an error:
// the old key may be all that a name has.
func (s *state) givers() (list []waiting, made []string, err error) {
	by := make(map[string]*waiting)
	before := len(s.strays)
	err = s.eachServed(func(name string, how served) {
		if how.Made {
			made = append(made, name)
		}
		for _, relay := range how.Relays {
			host := relayHost(relay)
			if by[host] == nil {
				by[host] = &waiting{Relay: host}
			}
			if !how.Made {
				by[host].Names = append(by[host].Names, cmp.Or(how.Public, name))
			}
		}
	})
	if err == nil && len(s.strays) > before {
		err = s.strays[before]
	}
	for _, host := range slices.Sorted(maps.Keys(by)) {
		list = append(list, *by[host])
	}
	return list, made, err
}

// labelOf is the label made from a key.
func labelOf(key ed25519.PublicKey) string { return keyname.Label(key, "") }
