package relay

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// expected are the names that the old process of this relay has handed over, and
// whose remotes are not here yet. The zero value has none.
type expected struct {
	mu     sync.RWMutex
	names  map[string]struct{}
	end    time.Time   // when they are expected no more
	forget *time.Timer // empties names then
}

// begin expects names for d.
func (e *expected) begin(names []string, d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names = make(map[string]struct{}, len(names))
	for _, name := range names {
		e.names[name] = struct{}{}
	}
	e.end = time.Now().Add(d)
	e.forget = time.AfterFunc(d, e.none)
}

// none ends what begin began.
func (e *expected) none() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names = nil
	if e.forget != nil {
		e.forget.Stop()
	}
}

// arrived notes that the remote of name is here.
func (e *expected) arrived(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.names, name)
}

// until returns until when name is expected, and whether it is.
func (e *expected) until(name string) (end time.Time, ok bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ok = e.names[name]
	return e.end, ok && time.Now().Before(e.end)
}

// list returns the names.
func (e *expected) list() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Collect(maps.Keys(e.names))
}
