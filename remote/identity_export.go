package remote

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
)

const (
	// MinPassphrase is the shortest passphrase of an export, in bytes.
	MinPassphrase = 8
	// maxExport is how many bytes the files of an export may have in all.
	maxExport = 64 << 20
	// maxExported is how many files an export may have.
	maxExported = 20_000
	// exportWork is the base-2 logarithm of scrypt's work factor, which package age
	// uses by itself. It takes about a second, and 256 MiB.
	exportWork = 18
	// exportRuns is by how much an import raises the run number, so that it replaces
	// the runs of the machine that it comes from, however often these start again.
	exportRuns = 1 << 20
)

// exportHead is the first file of an export.
const exportHead = "keystay-identity.json"

// An exportInfo is what that file says, as JSON.
type exportInfo struct {
	Version  int       `json:"version"` // 1
	Identity string    `json:"identity"`
	Made     time.Time `json:"made"`
}

// exported is what an export may hold of a state directory: these files, and what is
// in these folders.
var (
	exportedFiles   = []string{identityFile, runFile, relayFile, handoversFile, TakenFile}
	exportedFolders = []string{namesDir, tokensDir, acmeDir, gateDir}
)

// gateDir is the folder of package gate.
const gateDir = "gate"

// isExported reports whether a file, by its path below the state directory with
// slashes, belongs into an export: locks, and what is half written, do not.
func isExported(name string) bool {
	if slices.Contains(exportedFiles, name) {
		return true
	}
	folder, rest, below := strings.Cut(name, "/")
	base := path.Base(name)
	return below && slices.Contains(exportedFolders, folder) && !strings.HasPrefix(rest, "locks/") &&
		base != lockFile && !strings.HasPrefix(base, ".") && !slices.Contains([]string{".lock", ".pid", damagedSuffix}, path.Ext(base))
}

// ExportIdentity writes the identity of a state directory to w, with all that another
// machine needs to serve the names: how they were served, tokens, ACME accounts,
// certificates, and the key of the gates. It is a tar archive in age's format, which
// "age -d" opens with the same passphrase. A run that goes on is not disturbed.
// The error wraps [ErrNoIdentity] where there is no identity.
func ExportIdentity(stateDir string, w io.Writer, passphrase string) error {
	return exportIdentity(stateDir, w, passphrase, exportWork)
}

func exportIdentity(stateDir string, w io.Writer, passphrase string, work int) error {
	if len(passphrase) < MinPassphrase {
		return fmt.Errorf("export the identity: the passphrase has %d bytes, at least %d are wanted", len(passphrase), MinPassphrase)
	}
	s, unlock, err := readingIdentity(stateDir)
	if err != nil {
		return err
	}
	files, err := s.collect()
	unlock()
	if err != nil {
		return fmt.Errorf("export the identity: %w", err)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("export the identity: %w", err)
	}
	to.SetWorkFactor(work)
	sealed, err := age.Encrypt(w, to)
	if err == nil {
		err = errors.Join(writeArchive(sealed, labelOf(s.public()), files), sealed.Close())
	}
	if err != nil {
		return fmt.Errorf("export the identity: %w", err)
	}
	return nil
}

// A stateFile is one of an export.
type stateFile struct {
	name string // below the state directory, with slashes
	data []byte
}

// collectAgain is how often files are read once more that have changed meanwhile, as
// where a certificate is renewed.
const collectAgain = 10

// collect reads the files of an export, all as they were at one time: package acme
// takes no lock of ours to write a key and its certificate.
func (s *state) collect() (files []stateFile, err error) {
	for range collectAgain {
		before, err := s.listing()
		if err != nil {
			return nil, err
		}
		if files, err = s.readAll(before); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		after, err2 := s.listing()
		if err2 != nil {
			return nil, err2
		}
		if err == nil && slices.Equal(before, after) {
			return files, nil
		}
	}
	return nil, fmt.Errorf("the files in %s do not stop changing", s.dir)
}

// A listed file is one of the state directory, as far as its folder tells.
type listed struct {
	name string
	size int64
	at   time.Time
}

// listing returns the files that belong into an export, also where they are symbolic
// links, or the folders are.
func (s *state) listing() (list []listed, err error) {
	for _, name := range exportedFiles {
		if list, err = s.list(list, name, s.path(name)); err != nil {
			return nil, err
		}
	}
	for _, folder := range exportedFolders {
		root, err := filepath.EvalSymlinks(s.path(folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return gone(err)
				}
				rest, err := filepath.Rel(root, file)
				if err == nil {
					list, err = s.list(list, folder+"/"+filepath.ToSlash(rest), file)
				}
				return err
			})
		}
		if err != nil {
			return nil, err
		}
	}
	total := int64(0)
	for _, f := range list {
		total += f.size
	}
	if total > maxExport || len(list) > maxExported {
		return nil, fmt.Errorf("%s has %d files of %d MiB, more than an export may hold", s.dir, len(list), total>>20)
	}
	return list, nil
}

// list adds a file to a list, if it is there and belongs into an export.
func (s *state) list(list []listed, name, file string) ([]listed, error) {
	if !isExported(name) {
		return list, nil
	}
	info, err := os.Stat(file)
	if err == nil && info.Mode().IsRegular() {
		list = append(list, listed{name, info.Size(), info.ModTime()})
	}
	return list, gone(err)
}

// gone makes nil of the error of a file that is gone by now.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *state) readAll(list []listed) (files []stateFile, err error) {
	for _, f := range list {
		b, err := os.ReadFile(s.path(filepath.FromSlash(f.name)))
		if err != nil {
			return nil, err
		}
		files = append(files, stateFile{f.name, b})
	}
	return files, nil
}

// writeArchive writes files as a tar archive, with the head in front.
func writeArchive(w io.Writer, identity string, files []stateFile) error {
	now := time.Now().UTC().Truncate(time.Second)
	head, err := json.Marshal(exportInfo{Version: 1, Identity: identity, Made: now})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, f := range append([]stateFile{{exportHead, append(head, '\n')}}, files...) {
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o600, ModTime: now})
		if err == nil {
			_, err = io.Copy(t, bytes.NewReader(f.data))
		}
		if err != nil {
			return err
		}
	}
	return t.Close()
}
