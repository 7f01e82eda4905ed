package names_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"keystay/relay/names"
)

// A copy of a record that is written to meanwhile is whole, and has what was in it
// before.
func TestCopyOfARecordInUseIsWhole(t *testing.T) {
	r := newRig(t, nil)
	mine := newIdentity(t)
	r.allowed(mine, "mine.relay.test", "")
	end, ended := make(chan struct{}), make(chan struct{})
	defer func() { close(end); <-ended }()
	begun := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			if i == 1 {
				close(begun)
			}
			select {
			case <-end:
				return
			default:
			}
			r.grants().Give(newIdentity(t).key.Public().(ed25519.PublicKey), 0, fmt.Sprintf("n%d.relay.test", i))
		}
	}()
	<-begun
	for range 5 {
		dir := t.TempDir()
		file := filepath.Join(dir, "names.db")
		size, err := r.grants().Copy(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Fatalf("size %d, stat %v, %v", size, info, err)
		}
		n := &names.Names{Grants: openGrants(t, dir)}
		n.Begin(zone)
		other := &rig{t: t, names: n}
		other.allowed(mine, "mine.relay.test", "")
		denied(t, other.claim(newIdentity(t), "mine.relay.test", ""), names.DeniedTaken)
		denied(t, other.claim(newIdentity(t), "n0.relay.test", ""), names.DeniedTaken)
	}
}

func TestCopyThatCannotBeWrittenLeavesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.allowed(newIdentity(t), "mine.relay.test", "")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "taken", "by a folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "none", "copy"), filepath.Join(dir, "taken")} {
		if _, err := r.grants().Copy(file); err == nil {
			t.Errorf("%s: no error", file)
		}
		if _, err := os.Stat(file + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: what was begun is left: %v", file, err)
		}
	}
	r.grants().Close()
	if _, err := r.grants().Copy(filepath.Join(dir, "copy")); !errors.Is(err, names.ErrClosed) {
		t.Errorf("of a record that is closed: %v", err)
	}
}
