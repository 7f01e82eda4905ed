package remote

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// The files of a state directory, beside the folder of package acme.
const (
	identityFile = "identity.pem" // the device's Ed25519 key, PKCS #8
	runFile      = "run"          // the number of the last start
	relayFile    = "relay"        // the relay of the first success, of a run before names had files
	acmeDir      = "acme"
	lockFile     = "lock"  // held while one of these files is changed
	namesDir     = "names" // how each name was served last, and who serves it now
)

// TakenFile is the file in a state directory that package relays has: which relay of a
// published list was taken.
const TakenFile = "relay-list.json"

// ACMEDir is the folder in a state directory that package acme has: its Config.Dir.
func ACMEDir(stateDir string) string { return filepath.Join(stateDir, acmeDir) }

// An InUseError says that another process on this device serves the name.
type InUseError struct {
	Name string
	PID  string // of the other process, if known
}

func (e *InUseError) Error() string {
	if e.PID == "" {
		return e.Name + " is already served by another run on this device"
	}
	return e.Name + " is already served by another run on this device, process " + e.PID
}

// state is a device's state directory.
type state struct {
	dir    string
	key    ed25519.PrivateKey
	run    framing.Run
	strays []error // what the owner should know of the files, with hints
	keys   keys    // of a run
	owed   owed
}

// openState makes the directory and the identity if need be, and begins a new
// run. Several processes may do so at once. An error says what to do.
func openState(dir string) (*state, error) {
	s, unlock, err := lockState(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	sweepFolders(dir)
	if err := s.loadIdentity(); err != nil {
		return nil, err
	}
	if err := s.beginRun(); err != nil {
		return nil, err
	}
	paid, err := s.owe() // so that the file is there
	s.stray(err)
	paid()
	s.stray(ownfile.Exposed(dir))
	list, err := s.loadHandovers(s.public())
	s.stray(err)
	s.keys.set(s.key, list)
	return s, nil
}

// Identity returns the label made from the device's key, of a state directory that
// is made if need be, and so is the key. Strange is what the owner should know of
// the files, with hints.
func Identity(dir string) (label string, strange []error, err error) {
	s, unlock, err := lockState(dir)
	if err != nil {
		if s, unlock, rerr := readingIdentity(dir); rerr == nil { // nothing has to be made
			defer unlock()
			return labelOf(s.public()), s.strays, nil
		}
		return "", nil, err
	}
	defer unlock()
	if err := s.loadIdentity(); err != nil {
		return "", nil, err
	}
	return labelOf(s.public()), s.strays, nil
}

// lockState makes the directory if need be, keeps other processes from it, finishes an
// import that was broken off, and removes what was left by a process that was killed.
func lockState(dir string) (s *state, unlock func() error, err error) {
	if err := ownfile.MkdirAll(dir); err != nil {
		return nil, nil, unusable("make", dir, dir, err)
	}
	s = &state{dir: dir}
	lock := flock.New(s.path(lockFile), flock.SetPermissions(0o600))
	err = ownfile.NoPipe(lock.Path())
	if err == nil {
		err = lock.Lock()
	}
	if err != nil {
		return nil, nil, unusable("lock", dir, s.path(lockFile), err)
	}
	s.sweep()
	if err := s.finishImport(); err != nil {
		lock.Close()
		return nil, nil, err
	}
	return s, lock.Close, nil
}

// unusable is the error of an attempt to do that with a state directory, or
// with a file in it.
func unusable(do, dir, file string, err error) error {
	err = ownfile.ExplainIn(err, file, dir)
	for _, obstacle := range []error{syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, fs.ErrNotExist} {
		if errors.Is(err, obstacle) && len(hint.All(err)) == 0 {
			err = hint.StateObstacle.Error(err, "FILE", file)
		}
	}
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == file && errors.Is(err, fs.ErrPermission) && len(hint.All(err)) == 0 && isRegular(file) {
		return fmt.Errorf("%s the state directory: %w", do, hint.FileRights.Error(err, "FILE", file))
	}
	if len(hint.All(err)) == 0 || errors.Is(err, fs.ErrPermission) && !errors.Is(err, ownfile.ErrOthers) {
		err = hint.RemoteState.After(err, "DIR", dir)
	}
	return fmt.Errorf("%s the state directory: %w", do, err)
}

// isRegular reports whether there is a file, and no folder or the like.
func isRegular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// stray keeps what the owner should know.
func (s *state) stray(err error) {
	if err != nil {
		s.strays = append(s.strays, err)
	}
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// loadIdentity reads the identity, and makes one where there is none.
func (s *state) loadIdentity() error {
	err := s.readIdentity()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file := s.path(identityFile)
	if _, err := os.Stat(s.path(runFile)); err == nil {
		s.stray(hint.NewIdentity.Error(errors.New("the identity is gone: a new one was made"), "FILE", file))
	}
	return s.makeIdentity()
}

// readIdentity reads the identity. The error wraps fs.ErrNotExist where there is none.
func (s *state) readIdentity() error {
	file := s.path(identityFile)
	b, err := ownfile.Read(file)
	if link := ownfile.Dangling(file); link != nil { // what it led to may only be away
		return unusable("read", s.dir, file, link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return unusable("read", s.dir, file, err)
	}
	key, err := parseIdentity(b)
	if err != nil {
		return hint.BadIdentity.Error(fmt.Errorf("%s %w", file, err), "FILE", file)
	}
	s.key = key
	s.stray(ownfile.Protect(file)) // not before the content has shown that it is a key
	return nil
}

// parseIdentity reads the key of an identity file. The error goes on from its name.
func parseIdentity(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(ownfile.PEM(b))
	if block == nil {
		return nil, errors.New("holds no Ed25519 key: there is no PEM block in it")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := k.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("holds no Ed25519 key")
	}
	return key, nil
}

// public is the identity.
func (s *state) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

func (s *state) makeIdentity() error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	return s.writeIdentity(key)
}

// writeIdentity makes key the identity.
func (s *state) writeIdentity(key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	if err := s.write(identityFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	s.key = key
	return nil
}

// lastRun returns the stored run number.
func (s *state) lastRun() (last uint64, err error) {
	b, err := ownfile.Read(s.path(runFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, unusable("read", s.dir, s.path(runFile), err)
	}
	if b = bytes.TrimSpace(b); len(b) > 0 {
		if last, err = strconv.ParseUint(string(b), 10, 64); err != nil {
			return 0, hint.BadRun.Error(fmt.Errorf("%s holds no number", s.path(runFile)), "FILE", s.path(runFile))
		}
	}
	return last, nil
}

// beginRun raises the stored run number by one.
func (s *state) beginRun() error {
	last, err := s.lastRun()
	if err != nil {
		return err
	}
	s.run.Number = last + 1
	rand.Read(s.run.ID[:])
	return s.write(runFile, strconv.AppendUint(nil, s.run.Number, 10))
}

// write replaces a file as a whole and for good: a crash or a loss of power
// leaves the old one or the new one.
func (s *state) write(name string, b []byte) error {
	if err := ownfile.Write(s.path(name), b); err != nil {
		return unusable("write", s.dir, s.path(name), err)
	}
	return nil
}

// lines returns the lines of a file of up to limit bytes, or nothing.
func (s *state) lines(name string, limit int64) []string {
	info, err := os.Stat(s.path(name))
	if err != nil || info.Size() > limit {
		return nil
	}
	b, err := ownfile.Read(s.path(name))
	if err != nil {
		return nil
	}
	return strings.Split(string(b), "\n")
}

// pidFile is the file with the number of the process that serves a name.
func pidFile(name string) string { return filepath.Join(namesDir, fileOf(name, ".pid")) }

// lockName makes sure that only one process of this device serves name. The
// lock goes with the process, however it ends.
func (s *state) lockName(name string) (unlock func() error, err error) {
	dir := s.path(namesDir)
	if err := ownfile.MkdirAll(dir); err != nil {
		return nil, unusable("make a folder in", s.dir, dir, err)
	}
	lock := flock.New(filepath.Join(dir, fileOf(name, ".lock")), flock.SetPermissions(0o600))
	ok := false
	for _, file := range []string{lock.Path(), s.path(pidFile(name))} {
		err = cmp.Or(err, ownfile.NoPipe(file))
	}
	if err == nil {
		ok, err = lock.TryLock()
	}
	if err != nil {
		return nil, unusable("lock a name in", s.dir, lock.Path(), err)
	}
	if !ok {
		pid, _ := ownfile.Read(s.path(pidFile(name)))
		return nil, &InUseError{Name: name, PID: strings.TrimSpace(string(pid[:min(len(pid), 20)]))}
	}
	// Only the message of an InUseError has it, so nothing waits for the disk.
	if err := os.WriteFile(s.path(pidFile(name)), strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600); err != nil {
		lock.Close()
		return nil, unusable("write", s.dir, s.path(pidFile(name)), err)
	}
	return lock.Close, nil
}
