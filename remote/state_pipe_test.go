//go:build unix

package remote

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// A named pipe in the place of a file of the state directory ends the start, which says
// so. To open it would wait for ever, and no signal ended the program.
func TestStateWithAPipeIsRefused(t *testing.T) {
	for _, file := range []string{lockFile, identityFile, runFile} {
		dir := t.TempDir()
		if _, err := openState(dir); err != nil {
			t.Fatal(err)
		}
		pipe := filepath.Join(dir, file)
		if err := errors.Join(os.Remove(pipe), syscall.Mkfifo(pipe, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := openState(dir)
		if want := hint.FileIsPipe.With("FILE", pipe); !errors.Is(err, ownfile.ErrPipe) || !slices.Equal(hint.All(err), want) {
			t.Errorf("%s: %v, %q", file, err, hint.All(err))
		}
	}
}

// Nor does the lock of a name, or what is beside it, hold a run up.
func TestLockOfANameMayBeAPipe(t *testing.T) {
	for _, end := range []string{".lock", ".pid"} {
		s := &state{dir: t.TempDir()}
		pipe := s.path(filepath.Join(namesDir, fileOf("xyz.relay.test", end)))
		if err := errors.Join(os.MkdirAll(filepath.Dir(pipe), 0o700), syscall.Mkfifo(pipe, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.lockName("xyz.relay.test"); !errors.Is(err, ownfile.ErrPipe) {
			t.Errorf("%s: %v", end, err)
		}
	}
}
