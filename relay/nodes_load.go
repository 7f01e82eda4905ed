package relay

import (
	"math"
	"runtime"
	"sync"
	"time"

	"keystay/framing"
)

const (
	// loadOver is over how long the processor's part of the load is levelled.
	loadOver = time.Minute
	// loadStep is the least time between two looks at the processor.
	loadStep = time.Second
)

// Load is how much of what this relay is meant to carry it carries, in thousandths, as
// [framing.Node] has it: of the memory that links and visitors may have, or of the
// processors' time over the last minute, whichever is more. Systems other than Unix
// tell of memory alone. It is meant to be called every few seconds.
func (s *Server) Load() uint16 {
	s.init()
	used, limit := s.shares.held()
	memory := float64(used) / float64(limit)
	return uint16(math.Ceil(framing.FullLoad * min(1, max(memory, s.news.load.look(time.Now(), processorTime())))))
}

// processors levels the part of the processors' time that this process takes. The zero
// value is ready.
type processors struct {
	mu    sync.Mutex
	at    time.Time     // of the last look
	took  time.Duration // in all, by then
	level float64
}

// look returns the part now, 0 to 1. Took is what the process has taken in all.
func (p *processors) look(now time.Time, took time.Duration) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	step := now.Sub(p.at)
	switch {
	case p.at.IsZero():
		p.at, p.took = now, took
	case step >= loadStep:
		part := (took - p.took).Seconds() / step.Seconds() / float64(runtime.GOMAXPROCS(0))
		p.level += (part - p.level) * (1 - math.Exp(-step.Seconds()/loadOver.Seconds()))
		p.at, p.took = now, took
	}
	return p.level
}
