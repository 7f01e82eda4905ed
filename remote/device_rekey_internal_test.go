package remote

import (
	"crypto/ed25519"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// rotatedState is the state of a run after a rotation of which no relay has heard.
func rotatedState(t *testing.T) (dir string, s *state) {
	t.Helper()
	dir = newStateDir(t)
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// What a relay has heard is the run's before anybody may rotate the key once more: else the run
// could take up that key, and then go back to hand-overs that do not lead to it.
func TestHandoversAreTheRunsBeforeTheKeyMayChange(t *testing.T) {
	dir, s := rotatedState(t)
	d := &Device{cfg: DeviceConfig{StateDir: dir}, state: s, log: slog.New(slog.DiscardHandler)}
	before := tree(t, dir)[handoversFile]
	done := make(chan struct{})
	s.keys.mu.Lock() // so that it stops where it is the run's
	go func() {
		defer close(done)
		s.noteHeard("relay.test", s.key.Public().(ed25519.PublicKey))
	}()
	for tree(t, dir)[handoversFile] == before {
		select {
		case <-done:
			t.Fatal("nothing was noted")
		case <-time.After(time.Millisecond):
		}
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	if ok, err := lock.TryLock(); ok || err != nil {
		t.Errorf("the key may change: %v, %v", ok, err)
	}
	lock.Close()
	s.keys.mu.Unlock()
	<-done
	if _, err := RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	if changed, err := d.TakeUpIdentity(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	shown := func(relay string) int { return len(s.keys.handovers(relay, handoverMinor, s.keys.public())) }
	if shown("relay.test") != 1 || shown("other.test") != 2 {
		t.Errorf("%d and %d hand-overs are shown", shown("relay.test"), shown("other.test"))
	}
	s.keys.setList(nil) // however that has come about
	if changed, err := d.TakeUpIdentity(); changed || err != nil || shown("relay.test") != 1 {
		t.Errorf("changed %v, %v, %d hand-overs are shown", changed, err, shown("relay.test"))
	}
}
