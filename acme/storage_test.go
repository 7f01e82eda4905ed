package acme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLocksExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := newStorage(dir), newStorage(dir) // as two processes would
		ctx := t.Context()
		if err := a.Lock(ctx, "x"); err != nil {
			t.Fatal(err)
		}
		if ok, err := b.TryLock(ctx, "x"); ok || err != nil {
			t.Errorf("second holder: %v, %v", ok, err)
		}
		if ok, err := b.TryLock(ctx, "y"); !ok || err != nil {
			t.Errorf("another lock: %v, %v", ok, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := b.Lock(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for a held lock: %v", err)
		}
		var got atomic.Bool
		go func() {
			if err := b.Lock(ctx, "x"); err != nil {
				t.Error(err)
			}
			got.Store(true)
		}()
		time.Sleep(time.Minute)
		if got.Load() {
			t.Error("the lock was given twice")
		}
		if err := a.Unlock(ctx, "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lockPoll)
		if !got.Load() {
			t.Error("the lock was not passed on")
		}
		for _, name := range []string{"x", "y"} {
			if err := b.Unlock(ctx, name); err != nil {
				t.Error(err)
			}
		}
		if err := b.Unlock(ctx, "x"); err == nil {
			t.Error("unlocked twice")
		}
	})
}

// A lock file that a killed process left is no lock, whatever it says.
func TestStaleLockFile(t *testing.T) {
	s := newStorage(t.TempDir())
	file := filepath.Join(s.Path, "locks", "x.lock")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"created":"2099-01-01T00:00:00Z","updated":"2099-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.TryLock(t.Context(), "x"); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if err := s.Unlock(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}
