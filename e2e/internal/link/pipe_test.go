//go:build linux

package link

import (
	"sync/atomic"
	"testing"
	"time"
)

func testPipe(s Setup) *pipe { return newPipe(s, -1, -1, new(atomic.Uint64), 1) }

// A packet takes its time at the rate, behind those before it, and the delay.
func TestRateAndDelay(t *testing.T) {
	p := testPipe(Setup{Delay: 20 * time.Millisecond, Rate: 8_000_000, Queue: 1 << 20}) // a byte takes 1 µs
	for i, c := range []struct {
		now  time.Duration
		n    int
		want time.Duration
	}{
		{0, 1000, 21 * time.Millisecond},
		{0, 1000, 22 * time.Millisecond},
		{1500 * time.Microsecond, 500, 22500 * time.Microsecond},
		{time.Second, 1000, time.Second + 21*time.Millisecond},
	} {
		if got, ok := p.accept(c.now, c.n); !ok || got != c.want {
			t.Errorf("packet %d arrives at %v, %v; want %v", i, got, ok, c.want)
		}
	}
}

// What does not fit in the queue is dropped, and takes no time.
func TestFullQueueDropsAtOnce(t *testing.T) {
	p := testPipe(Setup{Rate: 8_000_000, Queue: 3000})
	for i, want := range []bool{true, true, true, false, false} {
		if _, ok := p.accept(0, 1000); ok != want {
			t.Errorf("packet %d: %v", i, ok)
		}
	}
	if due, ok := p.accept(time.Millisecond, 1000); !ok || due != 4*time.Millisecond {
		t.Errorf("after a millisecond: %v, %v", due, ok)
	}
}

// The share of packets that are lost is right, and the same in each run.
func TestLossIsAsAskedAndRepeats(t *testing.T) {
	for _, percent := range []float64{0, 0.1, 1, 100} {
		const n = 1_000_000
		var lost [2]int
		for run := range lost {
			p := testPipe(Setup{Rate: 1 << 40, Queue: 1 << 40, Seed: 7})
			p.loss.Store(uint64(percent / 100 * lossUnit))
			for i := range n {
				if _, ok := p.accept(time.Duration(i), 1); !ok {
					lost[run]++
				}
			}
		}
		if lost[0] != lost[1] {
			t.Errorf("%v %%: %d lost, and then %d", percent, lost[0], lost[1])
		}
		if got := float64(lost[0]) * 100 / n; got < percent*0.9 || got > percent*1.1 {
			t.Errorf("%v %%: %v %% lost", percent, got)
		}
	}
}
