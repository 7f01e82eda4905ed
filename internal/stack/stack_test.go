package stack

import (
	"runtime/debug"
	"testing"
	"unsafe"
)

// use takes half as much stack as Grow does.
//
//go:noinline
func use(here *byte) {
	var b [shallow / 2]byte
	touch(b[:])
	*here = 1
}

// moves reports whether f, in a new goroutine, makes the stack move.
func moves(before, f func()) bool {
	moved := make(chan bool)
	go func() {
		var here byte
		before()
		was := uintptr(unsafe.Pointer(&here))
		f()
		use(&here)
		moved <- uintptr(unsafe.Pointer(&here)) != was
	}()
	return <-moved
}

func TestStackIsNotCopiedAnyMoreOnceItHasGrown(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection makes stacks smaller
	nothing := func() {}
	for name, c := range map[string]struct{ before, f func() }{
		"4 KiB": {Grow, nothing}, "4 KiB, again": {Grow, Grow}, "8 KiB": {GrowDeep, Grow}, "8 KiB, again": {GrowDeep, GrowDeep},
	} {
		if moves(c.before, c.f) {
			t.Errorf("%s: the stack was copied", name)
		}
	}
}
