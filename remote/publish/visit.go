package publish

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"keystay/internal/budget"
)

const (
	// maxLocals is how many connections to the local service visitors have together,
	// beside one for each of them. With DefaultMaxVisitors of package remote that is
	// little more than half of the ports that there are to dial from.
	maxLocals = 12 << 10
	// localPlace is what each of those counts for in Budgets.locals: four for each
	// visitor's connection as long as there are any, and beyond that a share that
	// shrinks as they are taken, see package budget.
	localPlace = budget.Floor / 4
)

type visitKey struct{}

// A visit is one visitor's connection.
type visit struct {
	budgets *Budgets
	memory  *budget.Share // of budgets.requests; nil has no limit
	heads   atomic.Int64  // bytes of large heads, see headsVisit
	kept    atomic.Int64  // bytes of bodies that are kept, see keptVisit
	locals  *budget.Share // of budgets.locals
	tunnels atomic.Int32  // see maxTunnels
	one     atomic.Bool   // there is a connection to a service that has no part of that

	mu       sync.Mutex
	pools    []*pool
	requests int           // to services, under way
	over     bool          // the visitor's connection has ended
	room     room          // see windows.go
	upload   *budget.Share // likewise: of budgets.uploads
	windows  *budget.Share // likewise: of budgets.windows
}

func (s *Site) newVisit() *visit {
	b := s.budgets
	return &visit{budgets: b, memory: b.requests.Share(), upload: b.uploads.Share(), windows: b.windows.Share(), locals: b.locals.Share()}
}

// visitOf returns the visit of a request. A handler that is not served by
// Site.Server knows nothing of connections: there each request is a visit of its
// own.
func (s *Site) visitOf(r *http.Request) *visit {
	v, ok := r.Context().Value(visitKey{}).(*visit)
	if !ok || v.budgets != s.budgets {
		v = s.newVisit()
		v.over = true
	}
	return v
}

// begin begins a request to a service. Its end is the pool's done.
func (v *visit) begin(s *service) *pool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests++
	i := slices.IndexFunc(v.pools, func(p *pool) bool { return p.service == s })
	if i < 0 {
		i = len(v.pools)
		v.pools = append(v.pools, &pool{visit: v, service: s, turns: make(chan struct{}, maxLocalConns)})
	}
	v.pools[i].requests++
	return v.pools[i]
}

// end ends the visit: its connections are closed when no request is under way.
func (v *visit) end() {
	v.mu.Lock()
	v.over = true
	v.closeLocked()
}

// leave is called when services have gone: connections to them are closed when no
// request is under way there.
func (v *visit) leave() {
	v.mu.Lock()
	for _, p := range v.pools {
		if p.service.gone.Load() {
			defer p.unusedLocked()()
		}
	}
	v.closeLocked()
}

// closeLocked closes all connections that nobody will use any more, and releases the
// lock.
func (v *visit) closeLocked() {
	var unused []*pool
	ends := v.over && v.requests == 0
	v.pools = slices.DeleteFunc(v.pools, func(p *pool) bool {
		p.over = ends || p.requests == 0 && p.service.gone.Load()
		if p.over {
			unused = append(unused, p)
		}
		return p.over
	})
	if ends {
		v.budgets.giveBack(v.room)
		v.room = unasked
		v.upload.Put(int(v.upload.Used()))
		v.windows.Put(int(v.windows.Used()))
	}
	v.mu.Unlock()
	for _, p := range unused {
		p.close()
	}
}
