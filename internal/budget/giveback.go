package budget

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// lookInterval is how often GiveBack looks.
	lookInterval = 3 * time.Second
	// calm is how little is allocated in that time when nothing happens, in bytes.
	calm = 1 << 20
	// minSpare is what GiveBack leaves to the next burst, in bytes, and one in
	// sparePart the part of what is in use that it leaves.
	minSpare  = 2 << 20
	sparePart = 8
	// giveBackInterval is how long GiveBack waits after it has given back: each time
	// costs two collections of garbage.
	giveBackInterval = time.Minute
)

// GiveBack gives what a burst has left back to the system, again and again until ctx
// ends: garbage, and memory that is free. By itself the runtime collects garbage again
// only when as much is allocated as is in use, or after two minutes, and keeps a part of
// the free memory for longer. GiveBack waits until little is allocated, and leaves 2 MiB
// or an eighth of what is in use, if that is more.
func GiveBack(ctx context.Context) { giveBack(ctx, readHeap, free) }

// free collects garbage twice, as a [sync.Pool] lets go of what it keeps at the second
// collection after that was used: the buffers of a burst are most of what it leaves.
func free() {
	runtime.GC()
	debug.FreeOSMemory()
}

// A heap is what the runtime says of its memory, in bytes.
type heap struct {
	allocated uint64 // since the start
	inUse     uint64 // when garbage was last collected
	spare     uint64 // allocated since then, free, or garbage
}

func giveBack(ctx context.Context, read func() heap, free func()) {
	ticks := time.NewTicker(lookInterval)
	defer ticks.Stop()
	last := read()
	var until time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			h := read()
			quiet := h.allocated-last.allocated < calm
			last = h
			if quiet && h.spare > max(minSpare, h.inUse/sparePart) && now.After(until) {
				free()
				until = now.Add(giveBackInterval)
			}
		}
	}
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	h := heap{allocated: s[0].Value.Uint64(), inUse: s[1].Value.Uint64(), spare: s[3].Value.Uint64()}
	if objects := s[2].Value.Uint64(); objects > h.inUse {
		h.spare += objects - h.inUse
	}
	return h
}
