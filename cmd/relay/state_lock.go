package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"keystay/internal/ownfile"
	"keystay/relay/names"
)

// lockTimeout is how long a start waits for another process that ends, and lockPoll how
// often it looks.
const lockTimeout, lockPoll = time.Second, 20 * time.Millisecond

// A stateLock keeps a second relay off a state directory whose record of names is
// elsewhere: the file of the record does that otherwise.
type stateLock struct {
	file *flock.Flock
	wait time.Duration
}

// lockState locks a state directory. The error wraps [names.ErrInUse] where another
// process has it for longer than wait.
func lockState(dir string, wait time.Duration) (*stateLock, error) {
	dir = filepath.Join(dir, clusterDir)
	if err := ownfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	l := &stateLock{flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600)), wait}
	return l, l.resume()
}

// awaitUnlocked waits until no relay has the state directory, or ctx ends.
func awaitUnlocked(ctx context.Context, dir string) error {
	for _, path := range []string{filepath.Join(dir, recordName), filepath.Join(dir, clusterDir, "lock")} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		l := flock.New(path)
		if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
			return fmt.Errorf("wait for the end of the relay: %w", err)
		}
		_ = l.Unlock()
	}
	return nil
}

// pause lets another process have it, and resume ends that.
func (l *stateLock) pause() { _ = l.file.Unlock() }

func (l *stateLock) resume() error {
	if err := ownfile.NoPipe(l.file.Path()); err != nil {
		return err
	}
	ok, err := l.file.TryLock() // whatever wait is, and however late this comes to run
	if !ok && err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.wait)
		defer cancel()
		ok, err = l.file.TryLockContext(ctx, lockPoll)
	}
	switch {
	case ok:
		return nil
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("lock %s: %w", l.file.Path(), names.ErrInUse)
	}
	return err
}
