//go:build unix

package acme

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"keystay/internal/ownfile"
)

// A named pipe in the place of what is kept holds nothing up.
func TestStoredPipeIsAnError(t *testing.T) {
	s := newStorage(t.TempDir())
	if err := syscall.Mkfifo(filepath.Join(s.Path, "x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "x"); !errors.Is(err, ownfile.ErrPipe) {
		t.Errorf("Load: %v", err)
	}
	if err := errors.Join(ownfile.MkdirAll(filepath.Join(s.Path, "locks")), syscall.Mkfifo(filepath.Join(s.Path, "locks", "x.lock"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryLock(t.Context(), "x"); !errors.Is(err, ownfile.ErrPipe) {
		t.Errorf("TryLock: %v", err)
	}
}
