package ct

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"keystay/internal/ownfile"
)

const (
	// maxState is the largest file of a name that is read, in bytes.
	maxState = 4 << 20
	// maxSeen is how many of its own keys the watch remembers to have seen, and
	// maxForeign how many foreign ones, of certificates of up to maxCertificate bytes.
	maxSeen, maxForeign, maxCertificate = 32, 64, 32 << 10
)

// A State is what a watch knows of one name.
type State struct {
	URL      string    `json:"url"`      // of the monitor
	After    string    `json:"after"`    // the last issuance that was looked at
	Asked    time.Time `json:"asked"`    // when the monitor was asked last
	Answered time.Time `json:"answered"` // when it has answered last
	Failure  string    `json:"failure"`  // why it has not since then
	Seen     []string  `json:"seen"`     // the device's own keys that have shown up, the last ones
	Blind    time.Time `json:"blind"`    // since when the watch does not work; zero where it does
	Foreign  []Foreign `json:"foreign"`  // certificates with other keys, unexpired
}

// A Foreign is a certificate whose key is not the device's.
type Foreign struct {
	Key      string    `json:"key"` // SHA-256 of the SubjectPublicKeyInfo, in hexadecimal
	ID       string    `json:"id"`
	DER      []byte    `json:"der"`
	NotAfter time.Time `json:"not_after"`
	Found    time.Time `json:"found"`
	Old      bool      `json:"old"` // from before the device noted its keys
}

// Alarming returns the certificates that raise an alarm: they are unexpired, and neither
// from before the device noted its keys nor, where the name's certificates are brought
// along, found so lately that their files may be to come.
func (s *State) Alarming(brought bool) (all []Foreign) {
	for _, f := range s.Foreign {
		if !f.Old && time.Now().Before(f.NotAfter) && (!brought || time.Since(f.Found) >= grace) {
			all = append(all, f)
		}
	}
	return all
}

// stateFile is the file of a name.
func stateFile(dir, domain string) string {
	return filepath.Join(dir, ownfile.Name(domain+".json"))
}

// Load returns what a watch that keeps its files in dir knows of a name: the zero
// State where it has not asked yet. A file that is damaged is an error.
func Load(dir, domain string) (State, error) {
	file := stateFile(dir, domain)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err == nil && info.Size() > maxState {
		err = fmt.Errorf("%s has more than %d bytes", file, maxState)
	}
	if err != nil {
		return State{}, err
	}
	b, err := ownfile.Read(file)
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("%s is damaged: %w", file, err)
	}
	return s, nil
}

// save keeps the state of a name for good.
func (s *State) save(dir, domain string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := ownfile.MkdirAll(dir); err != nil {
		return err
	}
	file := stateFile(dir, domain)
	return ownfile.Explain(ownfile.Write(file, append(b, '\n')), file)
}

// see notes that one of the device's own keys has shown up.
func (s *State) see(key string) {
	if slices.Contains(s.Seen, key) {
		return
	}
	s.Seen = append(s.Seen, key)
	s.Seen = s.Seen[max(0, len(s.Seen)-maxSeen):]
}

// keep keeps a foreign certificate, and reports whether there is room. One for each key
// is enough: the one that expires last.
func (s *State) keep(f Foreign) bool {
	if i := slices.IndexFunc(s.Foreign, func(o Foreign) bool { return o.Key == f.Key }); i >= 0 {
		if f.NotAfter.After(s.Foreign[i].NotAfter) && len(f.DER) <= maxCertificate {
			f.Found = s.Foreign[i].Found
			s.Foreign[i] = f
		}
		return true
	}
	if len(s.Foreign) == maxForeign || len(f.DER) > maxCertificate {
		return false
	}
	s.Foreign = append(s.Foreign, f)
	return true
}
