package remote_test

import (
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// A remote that wakes up, or has another network, has a new link as soon as it
// can know that the old one is dead.
func TestRemoteThatWakesUpDialsAnew(t *testing.T) {
	r := newRelay(t, freezable)
	l := r.start(nil)
	link := r.next()
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	remote.WakeUp(l)
	select {
	case <-r.up:
		t.Error("a live link was dialed anew")
	case <-time.After(framing.ProbeTimeout + time.Second):
	}
	link.conn.(*frozen).freeze()
	start := time.Now()
	remote.WakeUp(l)
	r.next()
	// Without it the old link would be silent for SilenceLimit first, counted from
	// its answer to the first wake-up: far from what a slow machine needs.
	if took := time.Since(start); took > framing.SilenceLimit-framing.ProbeTimeout-2*time.Second {
		t.Errorf("the new link came up %v after the wake-up, want soon after %v", took, framing.ProbeTimeout)
	}
}
