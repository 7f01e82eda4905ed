package gate

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/signin"
)

// The folder of the gates in a state directory, and what is in it.
const (
	// Folder is its name.
	Folder = "gate"

	keyFile     = "key"   // the key of all signatures, in hexadecimal
	lockFile    = "lock"  // held while the key is made or one-time links are counted
	onceFolder  = "once"  // a file for each one-time link that nobody has opened yet
	endedFolder = "ended" // a file for each name: the sessions that have ended early

	keySize = 32
)

// A Store is what the gates of a device have in common, and keep: the key that
// cookies and links are signed with, the one-time links that nobody has used, the
// sessions that were ended, and how much each address has guessed of late. Several
// processes may have one of the same folder.
type Store struct {
	dir      string // empty: nothing is kept
	cookies  seal   // one key for each purpose
	links    seal
	flows    seal
	once     once
	seen     *seen
	guesses  *signin.Guesses
	hashing  *signin.Hashing
	sessions *sessions
	strange  []error
}

// Open opens the folder Folder of a state directory, and makes it and its key if need
// be. An empty stateDir is for one process: nothing is kept. Nothing has to be closed.
// An error is for people, with hints.
func Open(stateDir string) (*Store, error) {
	s := &Store{guesses: signin.NewGuesses(), hashing: signin.NewHashing(), seen: newSeen(), once: once{by: make(map[string]time.Time)}}
	key := make([]byte, keySize)
	rand.Read(key)
	if stateDir != "" {
		s.dir = filepath.Join(stateDir, Folder)
		for _, dir := range []string{s.dir, filepath.Join(s.dir, onceFolder), filepath.Join(s.dir, endedFolder)} {
			if err := ownfile.MkdirAll(dir); err != nil {
				return nil, s.unusable("make", dir, err)
			}
		}
		err := s.locked(func() (err error) {
			key, err = s.key(key)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	s.cookies, s.links, s.flows = newSeal(key, "cookie"), newSeal(key, "link"), newSeal(key, "oidc")
	s.sessions = newSessions(s)
	return s, nil
}

// Strange returns what the owner should know of the files, with hints.
func (s *Store) Strange() []error { return s.strange }

// key returns the key of the folder, which is fresh where there was none.
func (s *Store) key(fresh []byte) ([]byte, error) {
	file := filepath.Join(s.dir, keyFile)
	b, err := ownfile.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := ownfile.Write(file, []byte(hex.EncodeToString(fresh)+"\n")); err != nil {
			return nil, s.unusable("write to", file, err)
		}
		return fresh, nil
	}
	if err != nil {
		return nil, s.unusable("read", file, err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != keySize {
		return nil, hint.GateKey.Error(fmt.Errorf("%s holds no key of gates", file), "FILE", file)
	}
	if err := ownfile.Protect(file); err != nil {
		s.strange = append(s.strange, err)
	}
	return key, nil
}

// locked calls f while no other process has the lock of the folder.
func (s *Store) locked(f func() error) error {
	file := filepath.Join(s.dir, lockFile)
	lock := flock.New(file, flock.SetPermissions(0o600))
	err := ownfile.NoPipe(file)
	if err == nil {
		err = lock.Lock()
	}
	if err != nil {
		return s.unusable("lock", file, err)
	}
	defer lock.Close()
	return f()
}

// unusable is the error of an attempt to do that with a file of the folder.
func (s *Store) unusable(do, file string, err error) error {
	err = ownfile.ExplainIn(err, file, s.dir)
	if len(hint.All(err)) == 0 {
		err = hint.RemoteState.After(err, "DIR", filepath.Dir(s.dir))
	}
	return fmt.Errorf("%s the folder of gates: %w", do, err)
}

// A seal signs for one purpose.
type seal struct{ key []byte }

// newSeal makes the seal of a purpose (HKDF, RFC 5869).
func newSeal(key []byte, purpose string) seal {
	k, err := hkdf.Key(sha256.New, key, nil, "keystay gate v1 "+purpose, sha256.Size)
	if err != nil {
		panic(err) // never: the length is one that HKDF has
	}
	return seal{k}
}

// sum returns the signature of parts (HMAC with SHA-256), each with its length, so
// that no two lists of parts are alike.
func (s seal) sum(parts ...string) []byte {
	h := hmac.New(sha256.New, s.key)
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// good reports whether sum is the signature of parts, in constant time.
func (s seal) good(sum []byte, parts ...string) bool { return hmac.Equal(sum, s.sum(parts...)) }

// randomSeal makes a seal that is good as long as the process runs.
func randomSeal() seal {
	key := make([]byte, keySize)
	rand.Read(key)
	return seal{key}
}
