package relay

import (
	"testing"
	"time"
)

// A counted lets all go, and counts it.
type counted int

func (c *counted) Reserve(n int) (int, time.Duration) { *c += counted(n); return n, 0 }
func (c *counted) Return(n int)                       { *c -= counted(n) }

// The visitor's node counts a visitor's bytes from when its remote has taken it, and none
// that were on their way before, which the other node counts.
func TestBytesCountFromTheTakingOn(t *testing.T) {
	var p lanePace
	var c counted
	is := func(want counted) {
		t.Helper()
		if c != want {
			t.Errorf("counted are %d, want %d", c, want)
		}
	}
	p.Reserve(1000)
	p.Return(400)
	p.Reserve(1000)
	p.begin(&c)
	p.Return(400)
	is(0)
	p.Reserve(300)
	p.Return(100)
	is(200)
	p.Reserve(50)
	is(250)
	p.begin(nil) // the visitor has stayed on its hop
	p.Reserve(1000)
	p.Return(10)
	is(250)
}
