package gate

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

const (
	// MaxLink is how long a link may last.
	MaxLink = 30 * 24 * time.Hour
	// MaxOnce is how many one-time links may wait to be opened, of all names.
	MaxOnce = 1000

	linkVersion = 1
	linkBody    = 1 + 1 + 8 + 12 // version, whether it is for one time, when it ends, its id
	linkSize    = linkBody + 32  // and the signature
)

// A Link is a link that opens the gate of a name, wherever a rule of it has Links.
type Link struct {
	Name string    // the public name, in normal form
	Ends time.Time // at most MaxLink from now
	Once bool      // it opens the gate for one visitor, and is used up then
}

// A link is a Link as it was read.
type link struct {
	ends time.Time
	once bool
	id   string
}

// NewLink makes a link and returns its path, which leads nowhere but on the name's own
// host. A one-time link is kept in the store until it is opened or ends: it is good on
// this device alone. No running process has to know of it.
func (s *Store) NewLink(l Link) (path string, err error) {
	if d := time.Until(l.Ends); d <= 0 || d > MaxLink+time.Minute {
		return "", fmt.Errorf("a link lasts up to %v", MaxLink)
	}
	body := []byte{linkVersion, 0}
	if l.Once {
		body[1] = 1
	}
	body = binary.BigEndian.AppendUint64(body, uint64(l.Ends.Unix()))
	id := make([]byte, 12)
	rand.Read(id)
	body = append(body, id...)
	if l.Once {
		if err := s.keepOnce(hex.EncodeToString(id), l.Ends); err != nil {
			return "", err
		}
	}
	return linkFolder + encode(append(body, s.links.sum(l.Name, string(body))...)), nil
}

// readLink reads the last part of the path of a link for a name. It says nothing of
// whether the link was used.
func (s *Store) readLink(name, token string) (l link, ok bool) {
	if len(token) > 2*linkSize {
		return link{}, false
	}
	b, err := decode(token)
	if err != nil || len(b) != linkSize || !s.links.good(b[linkBody:], name, string(b[:linkBody])) {
		return link{}, false
	}
	l = link{
		ends: time.Unix(int64(binary.BigEndian.Uint64(b[2:10])), 0),
		once: b[1] == 1,
		id:   hex.EncodeToString(b[10:linkBody]),
	}
	d := time.Until(l.ends)
	return l, b[0] == linkVersion && d > 0 && d <= MaxLink+time.Hour
}

// once are the one-time links of a store that keeps nothing.
type once struct {
	mu sync.Mutex
	by map[string]time.Time
}

// onceFile is where a one-time link is kept until it is used.
func (s *Store) onceFile(id string) string { return filepath.Join(s.dir, onceFolder, id) }

// keepOnce keeps a one-time link.
func (s *Store) keepOnce(id string, ends time.Time) error {
	if s.dir == "" {
		s.once.mu.Lock()
		defer s.once.mu.Unlock()
		for old, ends := range s.once.by {
			if time.Until(ends) <= 0 {
				delete(s.once.by, old)
			}
		}
		if len(s.once.by) >= MaxOnce {
			return hint.GateManyLinks.Error(fmt.Errorf("%d one-time links wait to be opened", MaxOnce))
		}
		s.once.by[id] = ends
		return nil
	}
	return s.locked(func() error {
		n, err := s.forgetOnce()
		if err != nil {
			return err
		}
		if n >= MaxOnce {
			return hint.GateManyLinks.Error(fmt.Errorf("%d one-time links wait to be opened", MaxOnce))
		}
		if err := ownfile.Write(s.onceFile(id), strconv.AppendInt(nil, ends.Unix(), 10)); err != nil {
			return s.unusable("write to", s.onceFile(id), err)
		}
		return nil
	})
}

// forgetOnce removes the one-time links that have ended, and counts the others.
func (s *Store) forgetOnce() (n int, err error) {
	dir := filepath.Join(s.dir, onceFolder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, s.unusable("read", dir, err)
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		b, err := ownfile.Read(file)
		ends, perr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil && (perr != nil || ends <= time.Now().Unix()) {
			os.Remove(file)
			continue
		}
		n++
	}
	return n, nil
}

// waits reports whether a one-time link was not used yet.
func (s *Store) waits(id string) bool {
	if s.dir == "" {
		s.once.mu.Lock()
		defer s.once.mu.Unlock()
		_, ok := s.once.by[id]
		return ok
	}
	_, err := os.Stat(s.onceFile(id))
	return err == nil
}

// use uses a one-time link up, and reports whether it was not used before: true for
// one caller alone, of all processes.
func (s *Store) use(id string) (bool, error) {
	if s.dir == "" {
		s.once.mu.Lock()
		defer s.once.mu.Unlock()
		_, ok := s.once.by[id]
		delete(s.once.by, id)
		return ok, nil
	}
	if err := os.Remove(s.onceFile(id)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return false, s.unusable("remove a file in", s.onceFile(id), err)
	}
	if err := ownfile.SyncDir(filepath.Join(s.dir, onceFolder)); err != nil {
		return false, s.unusable("write to", s.onceFile(id), err) // it might be there again
	}
	return true, nil
}
