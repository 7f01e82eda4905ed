package relays

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"keystay/internal/hint"
	"keystay/internal/relaylist"
)

// ErrForeign is wrapped by the error of a list that nobody has signed who may. It does not
// pass by itself, as the others may.
var ErrForeign = errors.New("the list is not signed by a key that it must be signed by")

// A Seen is what is remembered of a list.
type Seen struct {
	List   string `json:"list"`   // as in Source
	Key    string `json:"key"`    // by which it was signed
	Serial uint64 `json:"serial"` // the highest
}

// Trust decides whether a list counts, and returns what is to be remembered of it. Seen
// is what was remembered of this source, the zero value where nothing was. With keys one
// of them must have signed; else the one that was seen; and where none was, the first that
// has, which first reports: that one is trusted because it came from where the owner said
// that the list is.
func Trust(l *relaylist.List, keys []relaylist.Key, seen Seen, now time.Time) (is Seen, first bool, err error) {
	switch {
	case len(keys) > 0:
	case seen.Key != "":
		old, err := relaylist.ParseKey(seen.Key)
		if err != nil {
			return seen, false, fmt.Errorf("the key that was kept of the list: %w", err)
		}
		keys = []relaylist.Key{old}
	default:
		keys, first = l.Signers(), true
	}
	by := ""
	for _, key := range keys {
		if text := key.String(); (by == "" || text == seen.Key) && l.SignedBy(key) {
			by = text
		}
	}
	if by == "" {
		return seen, false, foreign(l, keys)
	}
	// Whoever keeps a list can take one of its signatures away. So what was seen counts
	// whichever of the keys has signed this one, as long as its own is one of them.
	isStill := slices.ContainsFunc(keys, func(k relaylist.Key) bool { return k.String() == seen.Key })
	if isStill && l.Serial < seen.Serial {
		return seen, false, hint.ListOld.Error(fmt.Errorf("the list has the serial number %d, and one with %d was seen before", l.Serial, seen.Serial))
	}
	if l.Expired(now) {
		return seen, false, hint.ListExpired.Error(fmt.Errorf("the list has expired at %s", l.Expires.Format(time.RFC3339)), "NOW", now.Format(time.RFC3339))
	}
	return Seen{List: seen.List, Key: by, Serial: l.Serial}, first, nil
}

// foreign says who has signed a list, where that is nobody of keys.
func foreign(l *relaylist.List, keys []relaylist.Key) error {
	signers := l.Signers()
	switch {
	case len(signers) == 0:
		return hint.ListBroken.Error(fmt.Errorf("%w: no signature fits", ErrForeign))
	case len(keys) == 0:
		return ErrForeign
	}
	return hint.ListForeign.Error(fmt.Errorf("%w: it is signed by %s, and not by %s", ErrForeign, signers[0], keys[0]), "KEY", signers[0].String())
}
