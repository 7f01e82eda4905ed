package budget

import (
	"context"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once nothing happens any more, not for a little, and not again
// at once.
func TestMemoryIsGivenBackWhenNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var h heap
		given, busy := 0, uint64(calm)
		done := make(chan struct{})
		go func() {
			giveBack(ctx, func() heap {
				mu.Lock()
				defer mu.Unlock()
				h.allocated += busy
				return h
			}, func() {
				mu.Lock()
				defer mu.Unlock()
				given++
			})
			close(done)
		}()
		step := func(inUse, spare, allocates uint64, d time.Duration, want int, what string) {
			t.Helper()
			mu.Lock()
			h.inUse, h.spare, busy = inUse, spare, allocates
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if given != want {
				t.Errorf("%s: given back %d times, want %d", what, given, want)
			}
		}
		step(100<<20, 50<<20, calm, time.Minute, 0, "while it is busy")
		step(100<<20, 50<<20, calm-1, 2*lookInterval, 1, "once it is quiet")
		step(100<<20, 50<<20, calm-1, giveBackInterval-2*lookInterval, 1, "soon after")
		step(100<<20, 50<<20, calm-1, 2*lookInterval, 2, "a minute later")
		step(100<<20, 100<<20/sparePart, 0, time.Hour, 2, "where there is little")
		step(1<<20, minSpare, 0, time.Hour, 2, "where there is next to nothing")
		cancel()
		<-done
	})
}

func TestHeapOfThisProcessIsRead(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // else it may count as in use by then
	was := readHeap()
	garbage := make([]byte, 8<<20)
	garbage[0] = 1
	if h := readHeap(); h.allocated < was.allocated+8<<20 || h.spare < 8<<20 {
		t.Errorf("with 8 MiB more: %+v, before %+v", h, was)
	}
}
