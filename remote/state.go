package remote

import (
	"bytes"
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

	"github.com/gofrs/flock"

	"keystay/framing"
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
	dir string
	key ed25519.PrivateKey
	run framing.Run
}

// openState makes the directory and the identity if need be, and begins a new
// run. Several processes may do so at once.
func openState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	s := &state{dir: dir}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	defer lock.Close()
	if err := s.loadIdentity(); err != nil {
		return nil, err
	}
	if err := s.beginRun(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

func (s *state) loadIdentity() error {
	file := s.path(identityFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeIdentity()
	}
	if err != nil {
		return fmt.Errorf("read the identity: %w", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return fmt.Errorf("protect the identity: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return fmt.Errorf("%s holds no PEM block: restore it from a backup, or remove it to begin with a new identity", file)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := k.(ed25519.PrivateKey)
	if err != nil || !ok {
		return fmt.Errorf("%s holds no Ed25519 key: restore it from a backup, or remove it to begin with a new identity", file)
	}
	s.key = key
	return nil
}

func (s *state) makeIdentity() error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	s.key = key
	return s.write(identityFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// beginRun raises the stored run number by one.
func (s *state) beginRun() error {
	b, err := os.ReadFile(s.path(runFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the run number: %w", err)
	}
	var last uint64
	if b = bytes.TrimSpace(b); len(b) > 0 {
		if last, err = strconv.ParseUint(string(b), 10, 64); err != nil {
			return fmt.Errorf("%s holds no number: remove it to begin at 1", s.path(runFile))
		}
	}
	s.run.Number = last + 1
	rand.Read(s.run.ID[:])
	return s.write(runFile, strconv.AppendUint(nil, s.run.Number, 10))
}

// write replaces a file as a whole: a crash leaves the old one or the new one.
func (s *state) write(name string, b []byte) error {
	f, err := os.CreateTemp(s.dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(name))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return nil
}

// lines returns the lines of a file of up to limit bytes, or nothing.
func (s *state) lines(name string, limit int64) []string {
	info, err := os.Stat(s.path(name))
	if err != nil || info.Size() > limit {
		return nil
	}
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		return nil
	}
	return strings.Split(string(b), "\n")
}

// lockName makes sure that only one process of this device serves name. The
// lock goes with the process, however it ends.
func (s *state) lockName(name string) (unlock func() error, err error) {
	dir := s.path(namesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	file := filepath.Join(dir, name+".pid")
	lock := flock.New(filepath.Join(dir, name+".lock"), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if !ok {
		pid, _ := os.ReadFile(file)
		return nil, &InUseError{Name: name, PID: strings.TrimSpace(string(pid[:min(len(pid), 20)]))}
	}
	if err := s.write(filepath.Join(namesDir, name+".pid"), strconv.AppendInt(nil, int64(os.Getpid()), 10)); err != nil {
		lock.Close()
		return nil, err
	}
	return lock.Close, nil
}
