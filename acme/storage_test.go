package acme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

func TestLocksExcludeOtherProcesses(t *testing.T) {
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

// What is kept of the longest host name, 253 bytes, fits whatever the system's
// limit for the name of a file.
func TestLongestNamesAreStored(t *testing.T) {
	ctx := t.Context()
	label := strings.Repeat("a", 63)
	for _, n := range []int{238, 239, 240, 250, 251, 252, 253} {
		name := strings.Join([]string{label, label, label, strings.Repeat("b", n-3*64-len(".relay.test")), "relay.test"}, ".")
		if len(name) != n {
			t.Fatalf("the name has %d bytes, want %d", len(name), n)
		}
		s := newStorage(t.TempDir())
		if err := s.Lock(ctx, "issue_cert_"+name); err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		if ok, err := newStorage(s.Path).TryLock(ctx, "issue_cert_"+name); ok || err != nil {
			t.Errorf("%d bytes, locked twice: %v, %v", n, ok, err)
		}
		if err := s.Unlock(ctx, "issue_cert_"+name); err != nil {
			t.Error(err)
		}
		for _, key := range []string{
			certmagic.StorageKeys.SiteCert("ca.test", name),
			certmagic.StorageKeys.SitePrivateKey("ca.test", name),
			certmagic.StorageKeys.SiteMeta("ca.test", name),
		} {
			err := s.Store(ctx, key, []byte(key))
			if b, lerr := s.Load(ctx, key); err != nil || lerr != nil || string(b) != key {
				t.Errorf("%d bytes: stored %v, loaded %q, %v", n, err, b, lerr)
			}
			info, err := s.Stat(ctx, key)
			if err != nil || info.Key != key || !s.Exists(ctx, key) {
				t.Errorf("%d bytes: %+v, %v", n, info, err)
			}
			if _, err := os.Stat(s.Filename(key)); err != nil {
				t.Error(err)
			}
			if err := s.Delete(ctx, key); err != nil || s.Exists(ctx, key) {
				t.Errorf("%d bytes: not deleted: %v", n, err)
			}
		}
	}
}
