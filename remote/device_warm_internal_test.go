package remote

import (
	"testing"
	"testing/synctest"
	"time"
)

// However often a device links, few of its links are warmed.
func TestFewLinksAreWarmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w warmings
		count := func(n int, pause time.Duration) (taken int) {
			for range n {
				if w.take() {
					taken++
				}
				time.Sleep(pause)
			}
			return taken
		}
		if n := count(20, 0); n != warmBurst {
			t.Errorf("%d links at once", n)
		}
		if n := count(24*60, time.Minute); n > 24*4 || n < 24*4-1 {
			t.Errorf("%d links in a day", n)
		}
		time.Sleep(24 * time.Hour)
		if n := count(20, 0); n != warmBurst {
			t.Errorf("%d links at once after a day", n)
		}
	})
}
