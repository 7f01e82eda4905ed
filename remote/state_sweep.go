package remote

import (
	"os"
	"path/filepath"
	"slices"

	"keystay/internal/ownfile"
)

// How a process that is killed leaves no key behind.
//
// What it was writing then stays as a file that nobody reads, also once the key in it has
// gone from everywhere else. Whoever locks the state directory removes what others have
// left of the files that are written under that lock, and of an import that was not
// complete. Other files are written without it, as by package acme: what is left of these
// goes at the next start once it is old.

// sweep removes what processes have left that were killed while they had the lock. The
// state directory is locked.
func (s *state) sweep() {
	ownfile.Sweep(s.dir, func(name string) bool {
		return slices.Contains([]string{identityFile, handoversFile, runFile}, name)
	})
	ownfile.Sweep(s.path(tokensDir), func(string) bool { return true })
	_ = os.RemoveAll(s.path(importUnready))
}

// sweepFolders removes what processes have left long ago in the folders that are written
// without the lock.
func sweepFolders(stateDir string) {
	for _, folder := range exportedFolders {
		ownfile.SweepTree(filepath.Join(stateDir, folder))
	}
}
