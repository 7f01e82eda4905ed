package publish

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/budget"
	"keystay/internal/duplex"
)

const (
	// maxLocalConns is how many connections to the local service one visitor's
	// connection may have. Over HTTP/1 it needs one. Over HTTP/2 it may have up
	// to maxVisitorStreams requests at once: those beyond wait for a connection, in
	// turn, as long as the visitor does.
	maxLocalConns = 32
	// maxLocals is how many connections to the local service visitors have together,
	// beside one for each of them. With DefaultMaxVisitors of package remote that is
	// little more than half of the ports that there are to dial from.
	maxLocals = 12 << 10
	// localPlace is what each of those counts for in Budgets.locals: four for each
	// visitor's connection as long as there are any, and beyond that a share that
	// shrinks as they are taken, see package budget.
	localPlace = budget.Floor / 4
	// placeInterval is how often a visit looks for a place that has become free.
	placeInterval = 100 * time.Millisecond
	// localIdleTimeout is how long a connection to the local service is kept
	// without a request.
	localIdleTimeout = 90 * time.Second
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

// A pool is the connections to one service that are for one visit alone. No other
// visitor gets one of them: a service may take the connection for the login (NTLM,
// Negotiate), and a request can be lost on a connection that the service closes.
type pool struct {
	visit   *visit
	service *service
	http1   atomic.Bool // the service has asked for HTTP/1.1

	// Guarded by visit.mu:
	over       bool // no request comes any more
	transports map[transportKey]*http.Transport
	conns      map[*localConn]struct{}
	requests   int // under way
}

// A transportKey says what the connections of a transport have in common.
type transportKey struct {
	http1   bool
	upgrade bool  // the requests may become something else, as WebSockets
	name    int32 // of service.names
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
		v.pools = append(v.pools, &pool{visit: v, service: s})
	}
	v.pools[i].requests++
	return v.pools[i]
}

// done ends a request.
func (p *pool) done() {
	p.visit.mu.Lock()
	p.visit.requests--
	p.requests--
	if !p.visit.over && !p.service.gone.Load() {
		p.visit.mu.Unlock()
		return
	}
	p.visit.closeLocked()
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
			for _, t := range p.transports {
				defer t.CloseIdleConnections()
			}
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

// close closes the connections of a pool that has no requests and gets none.
func (p *pool) close() {
	p.visit.mu.Lock()
	conns, transports := p.conns, p.transports
	p.conns, p.transports = nil, nil
	p.visit.mu.Unlock()
	for _, t := range transports {
		t.CloseIdleConnections()
	}
	for c := range conns {
		c.Close()
	}
}

// transport returns the pool's transport for k.
func (p *pool) transport(k transportKey) *http.Transport {
	p.visit.mu.Lock()
	defer p.visit.mu.Unlock()
	t := p.transports[k]
	if t == nil {
		r := small
		if s := p.service; s.H2C || s.URL.Scheme == "https" && !k.http1 { // it may speak HTTP/2
			r = p.visit.roomLocked()
		}
		t = p.service.transport(k, r, p.dial)
		if p.transports == nil {
			p.transports = make(map[transportKey]*http.Transport, 1)
		}
		p.transports[k] = t
	}
	return t
}

// dial is the transports' way to the local service.
func (p *pool) dial(ctx context.Context) (net.Conn, error) {
	leave, err := p.place(ctx)
	if err != nil {
		return nil, err
	}
	c, err := p.service.dial(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	l := newLocalConn(c.(duplex.Conn), func(l *localConn) { // it is one of TCP or a unix socket
		p.forget(l)
		leave()
	})
	if !p.take(l) {
		l.Close()
		return nil, net.ErrClosed
	}
	return l, nil
}

// place waits until the visit may have one more connection to a service. The first
// may be had at once. The function it returns gives the place back. Meanwhile a
// request gets the pool's next connection that is not used any more, if there is one.
func (p *pool) place(ctx context.Context) (leave func(), err error) {
	v := p.visit
	for !p.isOver() {
		if v.one.CompareAndSwap(false, true) {
			return func() { v.one.Store(false) }, nil
		}
		if v.locals.Take(localPlace, localPlace) > 0 {
			return func() { v.locals.Put(localPlace) }, nil
		}
		p.closeOthers()
		select {
		case <-time.After(placeInterval):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, net.ErrClosed
}

// isOver reports whether nobody needs a connection to the service any more.
func (p *pool) isOver() bool {
	p.visit.mu.Lock()
	defer p.visit.mu.Unlock()
	return p.over
}

// closeOthers closes the visit's connections to other services that no request uses.
func (p *pool) closeOthers() {
	p.visit.mu.Lock()
	var unused []*http.Transport
	for _, other := range p.visit.pools {
		if other != p {
			unused = slices.AppendSeq(unused, maps.Values(other.transports))
		}
	}
	p.visit.mu.Unlock()
	for _, t := range unused {
		t.CloseIdleConnections()
	}
}

// take notes a new connection, if somebody still waits for it.
func (p *pool) take(l *localConn) bool {
	p.visit.mu.Lock()
	defer p.visit.mu.Unlock()
	if p.over {
		return false
	}
	if p.conns == nil {
		p.conns = make(map[*localConn]struct{}, 1)
	}
	p.conns[l] = struct{}{}
	return true
}

func (p *pool) forget(l *localConn) {
	p.visit.mu.Lock()
	defer p.visit.mu.Unlock()
	delete(p.conns, l)
}
