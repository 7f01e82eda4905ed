package inspect

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultMemory is what an Inspector keeps at most, in bytes.
const DefaultMemory = 32 << 20

// An Inspector keeps the newest requests with their answers. The zero value is ready for
// use; its field is set before that.
type Inspector struct {
	// Memory bounds what is kept of all requests together, in bytes, those under way
	// among them; 0 is DefaultMemory. Where it is used up, the oldest are let go.
	Memory int64

	paused   atomic.Bool
	watchers atomic.Int32
	replays  replays

	mu      sync.Mutex
	kept    []*exchange // the oldest first, with growing ids
	used    int64       // of Memory
	last    uint64      // the newest id
	let     uint64      // how many were let go to make room
	watches map[chan struct{}]bool
	sites   map[string]*site
}

// A site is where requests for a name are repeated.
type site struct{ again http.Handler }

// Wrap returns the handler that keeps the requests for a public name and gives them to
// next.
func (in *Inspector) Wrap(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		again, _ := r.Context().Value(replayKey{}).(*replay)
		if again == nil && in.paused.Load() {
			next.ServeHTTP(w, r)
			return
		}
		e := in.begin(name, r, again)
		t := &tap{ResponseWriter: w, in: in, e: e, answer: in.side(e, false)}
		defer t.end()
		next.ServeHTTP(t, t.tapped(r))
		t.whole = true
	})
}

// Add lets requests for a name be repeated, with a handler that serves them as it serves
// visitors', such as publish.Site.Again. Remove takes it back.
func (in *Inspector) Add(name string, again http.Handler) (remove func()) {
	s := &site{again}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sites == nil {
		in.sites = make(map[string]*site)
	}
	in.sites[name] = s
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.sites[name] == s {
			delete(in.sites, name)
		}
	}
}

// begin begins to keep a request.
func (in *Inspector) begin(name string, r *http.Request, again *replay) *exchange {
	e := newExchange(name, r)
	if again != nil {
		e.replayOf = again.of
	}
	in.mu.Lock()
	in.last++
	e.id = in.last
	in.kept = append(in.kept, e)
	in.used += e.cost
	gone := in.makeRoomLocked()
	in.mu.Unlock()
	letGo(gone)
	if again != nil {
		again.begun <- e.id
	}
	in.changed()
	return e
}

// take counts n bytes more for an exchange, or fewer. It reports whether the exchange is
// kept still. The caller has not locked the exchange.
func (in *Inspector) take(e *exchange, n int) bool {
	in.mu.Lock()
	if e.gone {
		in.mu.Unlock()
		return false
	}
	e.cost += int64(n)
	in.used += int64(n)
	gone := in.makeRoomLocked()
	in.mu.Unlock()
	letGo(gone)
	return true
}

// makeRoomLocked takes the oldest off until the others fit.
func (in *Inspector) makeRoomLocked() (gone []*exchange) {
	most := in.Memory
	if most == 0 {
		most = DefaultMemory
	}
	for in.used > most && len(in.kept) > 0 {
		gone = append(gone, in.shiftLocked())
		in.let++
	}
	return gone
}

// shiftLocked takes the oldest off.
func (in *Inspector) shiftLocked() *exchange {
	e := in.kept[0]
	in.kept[0] = nil
	in.kept = in.kept[1:]
	in.used -= e.cost
	e.cost, e.gone = 0, true
	return e
}

// letGo frees what was kept of exchanges that are not kept any more, be they under way.
func letGo(gone []*exchange) {
	for _, e := range gone {
		e.mu.Lock()
		e.content = content{empty: true}
		e.mu.Unlock()
	}
}

// clear lets everything go.
func (in *Inspector) clear() {
	in.mu.Lock()
	var gone []*exchange
	for len(in.kept) > 0 {
		gone = append(gone, in.shiftLocked())
	}
	in.kept, in.let = nil, 0
	in.mu.Unlock()
	letGo(gone)
	in.changed()
}

// pause keeps nothing more of visitors, or does so again.
func (in *Inspector) pause(on bool) {
	in.paused.Store(on)
	in.changed()
}

// all returns what is kept, the newest first, and how many were let go for it.
func (in *Inspector) all() (list []*exchange, let uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	list = slices.Clone(in.kept)
	slices.Reverse(list)
	return list, in.let
}

// find returns an exchange that is kept, or nil.
func (in *Inspector) find(id uint64) *exchange {
	in.mu.Lock()
	defer in.mu.Unlock()
	i, ok := slices.BinarySearchFunc(in.kept, id, func(e *exchange, id uint64) int {
		switch {
		case e.id < id:
			return -1
		case e.id > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return in.kept[i]
}

// newest is the id of the newest exchange.
func (in *Inspector) newest() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.last
}

// changed tells those who watch that there is something new. It waits for none of them.
func (in *Inspector) changed() {
	if in.watchers.Load() == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for c := range in.watches {
		select {
		case c <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

// watch returns what is told of changes, until stop is called.
func (in *Inspector) watch() (news <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.watches == nil {
		in.watches = make(map[chan struct{}]bool)
	}
	in.watches[c] = true
	in.watchers.Add(1)
	return c, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.watches, c)
		in.watchers.Add(-1)
	}
}

// Close ends the replays that are under way, and waits for them.
func (in *Inspector) Close() { in.replays.close() }

type replayKey struct{}

// replayed returns a context for a request that is a replay.
func replayed(ctx context.Context, r *replay) context.Context {
	return context.WithValue(ctx, replayKey{}, r)
}
