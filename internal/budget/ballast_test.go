package budget

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// With the ballast, the heap may have twice as much before garbage is collected; GOGC
// in the environment keeps it out, and little memory makes it small.
func TestBallastPutsCollectionsOff(t *testing.T) {
	t.Setenv("GOGC", "")
	goal := func() int {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
		metrics.Read(s)
		return int(s[0].Value.Uint64())
	}
	ballast := Ballast()
	if got := goal(); got < 2*len(ballast) || len(ballast) == 0 {
		t.Errorf("garbage is collected from %d bytes on, with a ballast of %d", got, len(ballast))
	}
	runtime.KeepAlive(ballast)

	defer debug.SetMemoryLimit(debug.SetMemoryLimit(128 << 20))
	if n := len(Ballast()); n != 4<<20 {
		t.Errorf("the ballast is %d bytes where the process may have 128 MiB", n)
	}
	t.Setenv("GOGC", "200")
	if n := len(Ballast()); n != 0 {
		t.Errorf("the ballast is %d bytes where GOGC is set", n)
	}
}
