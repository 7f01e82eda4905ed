package relay

import (
	"runtime"
	"testing"
	"time"
)

// The processors' part of the load follows what the process takes within some minutes,
// and one busy second does not make a node look full.
func TestProcessorsLoadIsLevelled(t *testing.T) {
	var p processors
	at, took := time.Unix(1, 0), time.Duration(0)
	run := func(d time.Duration, part float64) (level float64) {
		for range d / loadStep {
			at = at.Add(loadStep)
			took += time.Duration(part * float64(loadStep) * float64(runtime.GOMAXPROCS(0)))
			level = p.look(at, took)
		}
		return level
	}
	if l := run(time.Minute, 0); l != 0 {
		t.Errorf("idle: %v", l)
	}
	if l := run(loadStep, 1); l > 0.05 {
		t.Errorf("one busy second: %v", l)
	}
	if l := run(5*time.Minute, 0.6); l < 0.57 || l > 0.6 {
		t.Errorf("at 60%%: %v", l)
	}
	if l := p.look(at, took+time.Hour); l > 0.6 {
		t.Errorf("looked at twice at one moment: %v", l)
	}
	if l := run(5*time.Minute, 0); l > 0.1 {
		t.Errorf("idle again: %v", l)
	}
}

// A relay with links has the load of their memory.
func TestMemoryIsLoad(t *testing.T) {
	s := &Server{shares: newShares(MinMemory, nil)}
	s.once.Do(func() {})
	before := s.Load()
	if got := s.shares.memory.Share().Take(MinMemory/4, MinMemory/4); got == 0 {
		t.Fatal("no memory")
	}
	if after := s.Load(); after < before+200 || after > 500 {
		t.Errorf("load %d, then %d", before, after)
	}
}
