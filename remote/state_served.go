package remote

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/keyname"
	"keystay/internal/ownfile"
)

const (
	// servedSuffix ends the name of the file that says how a name was served
	// last, in the folder names.
	servedSuffix = ".json"
	// maxServedFile is the largest such file that is read, in bytes.
	maxServedFile = 16 << 10
	// maxServedFiles is how many of them are looked through for the last name.
	maxServedFiles = 1024
)

// A served is how a name was served last. It belongs to that name alone: a relay
// that was good for one name proves nothing for another.
type served struct {
	// Relays are the relays that gave the name, or that it was asked of.
	Relays []string `json:"relays"`
	// Named says that the owner named these relays, and that none was found by
	// climbing.
	Named bool `json:"named"`
	// Word is what a name made from the device's key is made of, too.
	Word string `json:"word,omitempty"`
	// Made says that the name was made from the device's key. It is made again
	// at each start, since the key may be another one by then.
	Made bool `json:"made"`
	// Service is what stood behind the name: Config.Service.
	Service string `json:"service"`
	// Run is the number of that run. The highest number was the last run.
	Run uint64 `json:"run"`
	// Public is the TCP port that was given, as visitors write it; else empty.
	Public string `json:"public,omitempty"`
	// Name is the name where it cannot be the name of the file.
	Name string `json:"name,omitempty"`
}

func servedFile(name string) string { return filepath.Join(namesDir, fileOf(name, servedSuffix)) }

// fileOf is the name of the file with this suffix about a name. That of a TCP port has a
// colon, which not every system takes there.
func fileOf(name, suffix string) string {
	return ownfile.Name(strings.ReplaceAll(name, ":", "-") + suffix)
}

// errNotServed says that a name was not served yet.
var errNotServed = errors.New("not served yet")

// A DamagedError says that what is stored about a name is not what was written.
type DamagedError struct {
	File string
	Name string // empty where the name of the file is not made of it
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged: it says how %s was served last", e.File, cmp.Or(e.Name, "a name"))
}

// Hints says what to do, in one line each.
func (e *DamagedError) Hints() []string {
	return hint.ServedDamaged.With("NAME", cmp.Or(e.Name, "NAME"), "FILE", e.File)
}

// damagedSuffix is added to the name of a damaged file when another one is
// written in its place.
const damagedSuffix = ".damaged"

// served returns how a name was served last. The error is errNotServed, a
// *DamagedError, or says what to do.
func (s *state) served(name string) (served, error) { return s.readServed(servedFile(name)) }

// readServed is served by the name of the file, below the state directory.
func (s *state) readServed(file string) (served, error) {
	path := s.path(file)
	info, err := os.Stat(path)
	if link := ownfile.Dangling(path); link != nil {
		return served{}, unusable("read", s.dir, path, link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return served{}, errNotServed
	}
	var b []byte
	if err == nil && info.Size() <= maxServedFile {
		b, err = ownfile.Read(path)
	}
	if err != nil {
		return served{}, unusable("read", s.dir, path, err)
	}
	var last served
	if json.Unmarshal(b, &last) != nil || len(last.Relays) == 0 || slices.Contains(last.Relays, "") {
		name, _ := strings.CutSuffix(filepath.Base(file), servedSuffix)
		if _, err := hostname.Normalize([]byte(name)); err != nil {
			name = ""
		}
		return served{}, &DamagedError{File: path, Name: name}
	}
	return last, nil
}

// remember keeps how a name is served.
func (s *state) remember(name string, how served) error {
	how.Run, how.Name = s.run.Number, ""
	file := servedFile(name)
	if filepath.Base(file) != name+servedSuffix {
		how.Name = name
	}
	b, err := json.Marshal(how)
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	var damaged *DamagedError
	if _, err := s.readServed(file); errors.As(err, &damaged) {
		if err := os.Rename(damaged.File, damaged.File+damagedSuffix); err != nil {
			return unusable("put a damaged file aside in", s.dir, damaged.File, err)
		}
	}
	return s.write(file, append(b, '\n'))
}

// forget undoes remember.
func (s *state) forget(name string) error {
	if err := os.Remove(s.path(servedFile(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return unusable("remove a file in", s.dir, s.path(servedFile(name)), err)
	}
	return nil
}

// forgetAt has a state directory forget that these relays gave a name, since they have taken
// it back. Others may have it still, and have to hear of a new key: the name goes with the last.
// A run that writes what a relay gave before is awaited; one that cannot write it is not.
func forgetAt(stateDir, name string, relays []string) error {
	s, unlock, err := lockState(stateDir)
	if err != nil {
		return err
	}
	defer unlock()
	if paid, err := s.awaitPaid(); err == nil {
		defer paid()
	}
	how, err := s.served(name)
	if errors.Is(err, errNotServed) {
		return nil
	}
	if err != nil {
		return err
	}
	how.Relays = slices.DeleteFunc(how.Relays, func(relay string) bool { return hasHost(relays, relayHost(relay)) })
	if len(how.Relays) == 0 {
		return s.forget(name)
	}
	b, err := json.Marshal(how)
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	return s.write(servedFile(name), append(b, '\n'))
}

// choose returns the name to serve and the relays to dial. An empty name is the
// one made from the device's key; no relays are to climb from the name. What was
// remembered counts only where cfg says nothing. Where it is damaged, a name that
// is given is looked for as if it were new, and the owner hears of it; without one
// it is an error, since another name could be taken for the last.
func (s *state) choose(cfg Name) (name string, how served, err error) {
	if err := s.recoverImport(); err != nil {
		return "", how, err
	}
	if cfg.Port != 0 {
		return s.choosePort(cfg)
	}
	name = cfg.Domain
	if len(cfg.Relays) > 0 {
		how = served{Relays: cfg.Relays, Named: true}
		if name == "" {
			how.Word = cfg.Word
		}
		return name, how, nil
	}
	if name == "" {
		if name, err = s.lastName(cfg.Service); err != nil {
			return "", how, err
		}
	}
	if name == "" {
		relay := s.oldRelay()
		if relay == "" {
			return "", how, ErrNoRelay
		}
		return "", served{Relays: []string{relay}, Word: cfg.Word}, nil
	}
	how, err = s.served(name)
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		s.stray(err)
	case err != nil && !errors.Is(err, errNotServed):
		return "", how, err
	}
	if cfg.Domain == "" && how.Made {
		name = ""
	}
	if cfg.Domain == "" && cfg.Word != "" { // the relay of the last name, whatever that was
		name, how.Word = "", cfg.Word
	}
	return name, how, nil
}

// lastName returns the name to serve where none is given: the one that was last
// served with this service, else the only one that was served at all, else "".
// The error is an *AmbiguousError when the service is new and several names
// were served, since another run may depend on each of them, and that of
// readServed when the service is new and what is stored of a name cannot be read.
func (s *state) lastName(service string) (string, error) {
	entries, err := os.ReadDir(s.path(namesDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("look for the last name: %w", err)
	}
	var names []string
	var best string
	var bestRun uint64
	var unread error // the first
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), servedSuffix)
		if !ok || len(names) == maxServedFiles {
			continue
		}
		how, err := s.readServed(filepath.Join(namesDir, e.Name()))
		if err != nil {
			unread = cmp.Or(unread, err)
			continue
		}
		if how.Name != "" {
			if name = how.Name; servedFile(name) != filepath.Join(namesDir, e.Name()) {
				continue // the file was copied to another name
			}
		}
		if isPortName(name) { // which no name stands for
			continue
		}
		names = append(names, name)
		if how.Service == service && (best == "" || how.Run > bestRun) {
			best, bestRun = name, how.Run
		}
	}
	switch {
	case best != "":
		s.stray(unread)
		return best, nil
	case unread != nil:
		return "", unread
	case len(names) > 1:
		return "", &AmbiguousError{Names: names}
	case len(names) == 1:
		return names[0], nil
	}
	return "", nil
}

// An AmbiguousError says that no name was given, that the service is a new one,
// and that several names were served from this state directory before.
type AmbiguousError struct {
	Names []string
}

func (e *AmbiguousError) Error() string {
	return "no name given, and several were served from here before: " + strings.Join(e.Names[:min(len(e.Names), maxNamesShown)], ", ")
}

// Hints says what to do, in one line each.
func (e *AmbiguousError) Hints() []string { return hint.WhichName.With("NAME", e.Names[0]) }

// maxNamesShown is how many names an AmbiguousError shows.
const maxNamesShown = 5

// eachServed calls f with each name that was served, in the order of the files. A
// damaged file is left out, and the log says so.
func (s *state) eachServed(f func(name string, how served)) error {
	entries, err := os.ReadDir(s.path(namesDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return unusable("read", s.dir, s.path(namesDir), err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), servedSuffix)
		if !ok {
			continue
		}
		how, err := s.readServed(filepath.Join(namesDir, e.Name()))
		if err != nil {
			s.stray(err)
			continue
		}
		f(cmp.Or(how.Name, name), how)
	}
	return nil
}

// renameMade remembers a name that was made from an earlier key under the one that is
// made from the key of now.
func (s *state) renameMade(name string, old ed25519.PublicKey) error {
	how, err := s.served(name)
	if err != nil {
		return err
	}
	zone, ok := strings.CutPrefix(name, keyname.Label(old, how.Word)+".")
	if !ok {
		return nil
	}
	b, err := json.Marshal(how)
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	if err := s.write(servedFile(keyname.Label(s.public(), how.Word)+"."+zone), append(b, '\n')); err != nil {
		return err
	}
	return s.forget(name)
}

// oldRelay returns the relay that a version without files for each name has
// remembered, or "".
func (s *state) oldRelay() string {
	b, err := ownfile.Read(s.path(relayFile))
	if err != nil || len(b) > 300 {
		return ""
	}
	return strings.TrimSpace(string(b))
}
