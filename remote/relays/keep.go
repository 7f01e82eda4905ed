package relays

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/remote"
)

const (
	// lockSuffix ends the name of the file that is held while the kept one is changed.
	lockSuffix = ".lock"
	// maxKept is the largest file that is read, in bytes, and maxSeen how many lists are
	// remembered.
	maxKept, maxSeen = 64 << 10, 16
)

// A Taken is the relay that was taken for a device.
type Taken struct {
	Relay string    `json:"relay"` // host, or host:port
	List  string    `json:"list"`  // out of which
	Why   string    `json:"why"`   // for people
	At    time.Time `json:"at"`
}

// kept is the file.
type kept struct {
	Taken *Taken `json:"taken,omitempty"`
	Lists []Seen `json:"lists,omitempty"` // the newest last
}

// A Keep is what is kept in a state directory.
type Keep struct{ StateDir string }

func (k Keep) file() string { return filepath.Join(k.StateDir, remote.TakenFile) }

// Taken returns the relay that was taken, or nil. It changes nothing.
func (k Keep) Taken() (*Taken, error) {
	is, err := k.read()
	return is.Taken, err
}

// Seen returns what is remembered of a list. It changes nothing.
func (k Keep) Seen(list string) (Seen, error) {
	is, err := k.read()
	for _, s := range is.Lists {
		if s.List == list {
			return s, err
		}
	}
	return Seen{List: list}, err
}

func (k Keep) read() (is kept, err error) {
	info, err := os.Stat(k.file())
	if errors.Is(err, fs.ErrNotExist) {
		return is, nil
	}
	var b []byte
	if err == nil && info.Size() <= maxKept {
		b, err = ownfile.Read(k.file())
	}
	if err != nil {
		return is, ownfile.ExplainState(err, k.file(), k.StateDir)
	}
	if json.Unmarshal(b, &is) != nil || is.Taken != nil && is.Taken.Relay == "" {
		return kept{}, hint.TakenDamaged.Error(fmt.Errorf("%s is damaged: it says which relay was taken", k.file()), "FILE", k.file())
	}
	return is, nil
}

// Remember keeps what was seen of a list.
func (k Keep) Remember(s Seen) error {
	return k.change(func(is *kept) {
		is.Lists = slices.DeleteFunc(is.Lists, func(o Seen) bool { return o.List == s.List })
		is.Lists = append(is.Lists[max(0, len(is.Lists)-maxSeen+1):], s)
	})
}

// Take keeps a relay. Unless anew is true, one that was kept already stays: several runs
// of a device that begin at one time have one relay. It returns the one that is kept.
func (k Keep) Take(t Taken, anew bool) (is Taken, err error) {
	err = k.change(func(f *kept) {
		if f.Taken == nil || anew {
			f.Taken = &t
		}
		is = *f.Taken
	})
	return is, err
}

func (k Keep) change(f func(*kept)) error {
	if err := ownfile.MkdirAll(k.StateDir); err != nil {
		return ownfile.ExplainState(err, k.StateDir, k.StateDir)
	}
	lock := flock.New(k.file()+lockSuffix, flock.SetPermissions(0o600))
	err := ownfile.NoPipe(lock.Path())
	if err == nil {
		err = lock.Lock()
	}
	if err != nil {
		return ownfile.ExplainState(err, lock.Path(), k.StateDir)
	}
	defer lock.Close()
	is, err := k.read()
	if err != nil {
		return err
	}
	f(&is)
	b, err := json.MarshalIndent(is, "", "  ")
	if err == nil {
		err = ownfile.Write(k.file(), append(b, '\n'))
	}
	return ownfile.ExplainState(err, k.file(), k.StateDir)
}
