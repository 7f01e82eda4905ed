package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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

// stage checks that the directory can take files, writes them beside the files of the
// directory that stay, and makes that the import. Aside is the name of the folder for
// the old files, and empty where there are none.
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
		ok, err := false, ownfile.NoPipe(file)
		if err == nil {
			ok, err = lock.TryLock()
		}
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

// halfImported reports whether an import has begun to take the place of what was in a state
// directory, and has not ended.
func halfImported(state string) bool {
	return slices.ContainsFunc([]string{importReady, importAside}, func(dir string) bool {
		_, err := os.Lstat(filepath.Join(state, dir))
		return err == nil
	})
}

// finishImport finishes an import that is complete, if there is one: see importUnready. The state directory is locked.
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
