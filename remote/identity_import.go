package remote

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"github.com/gofrs/flock"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// How an import is all or nothing.
//
// All of it is read and checked first, and then written into the folder
// importUnready. To rename that to importReady is the moment of the import: from then
// on the next process that locks the state directory finishes it. The old files go into
// a folder aside, then importReady becomes importAside, and then the new files are moved
// out of it. Each step may be repeated, so that it may break off anywhere.
const (
	importUnready = ".import-new" // being written; nobody looks at it
	importReady   = ".import"     // complete; the old files go aside
	importAside   = ".import-in"  // the old files are aside; the new ones move in
	asideFile     = "aside"       // in these: the name of the folder for the old files
)

// maxExportRun is the highest run number of an export: enough are left behind it for
// all further exports and starts.
const maxExportRun = 1 << 62

// ErrImport is wrapped by the error of what cannot be imported as it is asked for: a
// file that is no export, or that another passphrase opens, and a state directory that
// has an identity.
var ErrImport = errors.New("nothing was imported")

// notImported is an error that wraps ErrImport.
type notImported struct{ text string }

func (e *notImported) Error() string        { return e.text }
func (e *notImported) Is(target error) bool { return target == ErrImport }

func notImportedf(format string, args ...any) error {
	return &notImported{fmt.Sprintf(format, args...)}
}

// maxImportWork is the largest work factor that an import takes: more than that of
// an export, in case that grows. It is 1 GiB.
const maxImportWork = 20

// ImportIdentity reads what ExportIdentity has written into a state directory, which
// it makes if need be, with modes 0700 and 0600: all of it or nothing. The next run
// from there replaces those of the machine that it comes from.
//
// Where an identity is there already, nothing is imported; but with replace all that
// belongs to it is kept in a folder below the state directory, whose path is returned.
// An error is for people, with hints.
func ImportIdentity(stateDir string, r io.Reader, passphrase string, replace bool) (info IdentityInfo, aside string, err error) {
	files, err := openExport(r, passphrase)
	if err != nil {
		return info, "", err
	}
	s, unlock, err := lockState(stateDir)
	if err != nil {
		return info, "", err
	}
	defer unlock()
	if aside, err = s.stage(files, replace); err == nil {
		err = s.finishImport()
	}
	if err == nil {
		err = s.readIdentity()
	}
	if err != nil {
		return info, "", err
	}
	if aside != "" {
		aside = s.path(aside)
	}
	info, err = s.info()
	return info, aside, err
}

// openExport decrypts and checks an export. It returns its files without the head.
func openExport(r io.Reader, passphrase string) ([]stateFile, error) {
	by, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, hint.ExportPassphrase.Error(notImportedf("the passphrase does not open it"))
	}
	by.SetMaxWorkFactor(maxImportWork)
	plain, err := age.Decrypt(r, by)
	var none *age.NoIdentityMatchError
	switch {
	case errors.Is(err, age.ErrIncorrectIdentity), errors.As(err, &none):
		return nil, hint.ExportPassphrase.Error(notImportedf("the passphrase does not open it"))
	case err != nil:
		return nil, noExport(fmt.Errorf("it is not encrypted by a passphrase in age's format: %w", err))
	}
	files, err := readArchive(plain)
	if err == nil {
		err = checkExport(files)
	}
	if err != nil {
		return nil, noExport(err)
	}
	return files, nil
}

func noExport(err error) error {
	return hint.NotAnExport.Error(notImportedf("it is no export of an identity: %v", err))
}

// readArchive reads the files of an export.
func readArchive(r io.Reader) (files []stateFile, err error) {
	t := tar.NewReader(r)
	left := int64(maxExport)
	seen := make(map[string]bool)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("it is damaged: %w", err)
		case len(files) > maxExported || h.Size > left:
			return nil, errors.New("it is larger than any export")
		case h.Typeflag != tar.TypeReg || len(files) == 0 && h.Name != exportHead || len(files) > 0 && !belongs(h.Name):
			return nil, fmt.Errorf("%.80q in it is no file of an identity", h.Name)
		case seen[strings.ToLower(h.Name)]: // some systems know no capitals
			return nil, fmt.Errorf("%.80q is in it twice", h.Name)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("it is damaged: %w", err)
		}
		left -= h.Size
		seen[strings.ToLower(h.Name)] = true
		files = append(files, stateFile{h.Name, b})
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // whose end is authenticated, too
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("it is empty")
	}
	var head exportInfo
	if err := json.Unmarshal(files[0].data, &head); err != nil || head.Version != 1 {
		return nil, errors.New("it is of another version of this program")
	}
	return files[1:], nil
}

// belongs reports whether the path of a file is one that an export has, and leads
// nowhere else on any system.
func belongs(name string) bool {
	if !isExported(name) || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\:\x00") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > ownfile.MaxName {
			return false
		}
	}
	return strings.Count(name, "/") < 16
}

// checkExport checks what would otherwise be noticed at the next start.
func checkExport(files []stateFile) error {
	i := slices.IndexFunc(files, func(f stateFile) bool { return f.name == identityFile })
	if i < 0 {
		return errors.New("there is no key in it")
	}
	if _, err := parseIdentity(files[i].data); err != nil {
		return fmt.Errorf("%s in it %w", identityFile, err)
	}
	// No path may be a file and a folder.
	is := make(map[string]bool)
	for _, f := range files {
		is[f.name] = true
	}
	for _, f := range files {
		for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
			if is[dir] {
				return fmt.Errorf("%.80q in it is a file and a folder", dir)
			}
		}
	}
	return nil
}

// stage checks that the directory can take files, writes them and what stays of it,
// and makes that the import. Aside is the folder for what was there, if anything was.
func (s *state) stage(files []stateFile, replace bool) (aside string, err error) {
	there := s.present()
	_, err = os.Lstat(s.path(identityFile))
	has := err == nil
	if has && !replace {
		return "", hint.IdentityThere.Error(notImportedf("%s has an identity already: nothing was imported", s.dir))
	}
	if err := s.unserved(); err != nil {
		return "", err
	}
	if files, err = s.withRun(files); err != nil {
		return "", err
	}
	if !has { // such as tokens that were kept before
		old, err := s.collect()
		if err != nil {
			return "", fmt.Errorf("import the identity: %w", err)
		}
		for _, f := range old {
			if !slices.ContainsFunc(files, func(o stateFile) bool { return o.name == f.name }) {
				files = append(files, f)
			}
		}
	}
	if len(there) > 0 {
		if aside, err = s.freeAside(); err != nil {
			return "", err
		}
	}
	dir := s.path(importUnready)
	if err := os.RemoveAll(dir); err != nil {
		return "", unusable("remove a folder in", s.dir, dir, err)
	}
	err = s.writeStaged(append(files, stateFile{asideFile, []byte(aside)}))
	if err == nil {
		err = s.rename(importUnready, importReady)
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return aside, nil
}

// withRun raises the run number of an export, so that the next start replaces those
// of the machine that it comes from, and those that this directory has had.
func (s *state) withRun(files []stateFile) ([]stateFile, error) {
	own, err := s.lastRun()
	if err != nil {
		return nil, err
	}
	var last uint64
	files = slices.Clone(files)
	i := slices.IndexFunc(files, func(f stateFile) bool { return f.name == runFile })
	if i < 0 {
		i = len(files)
		files = append(files, stateFile{name: runFile})
	} else if last, err = strconv.ParseUint(strings.TrimSpace(string(files[i].data)), 10, 64); err != nil {
		return nil, noExport(errors.New("its run number is none"))
	}
	if last > maxExportRun {
		return nil, noExport(errors.New("its run number is too high"))
	}
	next := max(last, own) + exportRuns
	files[i].data = strconv.AppendUint(nil, next, 10)
	return files, nil
}

// writeStaged writes files into importUnready, for good.
func (s *state) writeStaged(files []stateFile) error {
	for _, f := range files {
		file := s.path(filepath.Join(importUnready, filepath.FromSlash(f.name)))
		err := ownfile.MkdirAll(filepath.Dir(file))
		if err == nil {
			err = ownfile.Write(file, f.data)
		}
		if err != nil {
			return unusable("write", s.dir, file, err)
		}
	}
	return nil
}

// present returns what there is in the state directory that an export has.
func (s *state) present() (list []string) {
	for _, name := range slices.Concat(exportedFiles, exportedFolders) {
		if _, err := os.Lstat(s.path(name)); err == nil {
			list = append(list, name)
		}
	}
	return list
}

// freeAside returns the name of a folder for what is there, which is not made yet.
func (s *state) freeAside() (string, error) {
	for n := 1; n < 1000; n++ {
		name := fmt.Sprintf("replaced-%d", n)
		if _, err := os.Lstat(s.path(name)); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
	}
	return "", fmt.Errorf("import the identity: %s has too many folders of identities that were replaced", s.dir)
}

// unserved returns an error where a process of this device serves a name from the
// state directory.
func (s *state) unserved() error {
	locks, err := filepath.Glob(filepath.Join(s.path(namesDir), "*.lock"))
	if err != nil {
		return fmt.Errorf("import the identity: %w", err)
	}
	for _, file := range locks {
		lock := flock.New(file, flock.SetPermissions(0o600))
		ok, err := lock.TryLock()
		if err != nil {
			return unusable("lock a name in", s.dir, file, err)
		}
		lock.Close()
		if !ok {
			name := strings.TrimSuffix(filepath.Base(file), ".lock")
			return hint.ImportInUse.Error(notImportedf("%s is served from %s now: nothing was imported", name, s.dir))
		}
	}
	return nil
}

// rename renames an entry of the state directory, for good.
func (s *state) rename(from, to string) error {
	err := os.Rename(s.path(from), s.path(to))
	if err == nil {
		err = ownfile.SyncDir(filepath.Dir(s.path(to)))
	}
	if err == nil && filepath.Dir(from) != filepath.Dir(to) {
		err = ownfile.SyncDir(filepath.Dir(s.path(from)))
	}
	if err != nil {
		return unusable("rename a file in", s.dir, s.path(from), err)
	}
	return nil
}

// recoverImport finishes an import that was broken off, if there is one.
func (s *state) recoverImport() error {
	for _, name := range []string{importReady, importAside} {
		if _, err := os.Lstat(s.path(name)); err == nil {
			_, unlock, err := lockState(s.dir)
			if err != nil {
				return err
			}
			return unlock()
		}
	}
	return nil
}

// finishImport finishes an import that is complete, if there is one: see the head of
// this file. The state directory is locked.
func (s *state) finishImport() error {
	if _, err := os.Lstat(s.path(importReady)); err == nil {
		aside, err := os.ReadFile(s.path(filepath.Join(importReady, asideFile)))
		if err != nil {
			return unusable("read", s.dir, s.path(importReady), err)
		}
		if there := s.present(); len(there) > 0 {
			if err := ownfile.MkdirAll(s.path(string(aside))); err != nil {
				return unusable("make a folder in", s.dir, s.path(string(aside)), err)
			}
			for _, name := range there {
				if err := s.rename(name, filepath.Join(string(aside), name)); err != nil {
					return err
				}
			}
		}
		if err := s.rename(importReady, importAside); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.path(importAside))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable("read", s.dir, s.path(importAside), err)
	}
	for _, e := range entries {
		if e.Name() == asideFile {
			continue
		}
		if err := s.rename(filepath.Join(importAside, e.Name()), e.Name()); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.path(importAside)); err != nil {
		return unusable("remove a folder in", s.dir, s.path(importAside), err)
	}
	return nil
}
