package publish

import (
	"context"
	"net"
	"net/http"
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
	// localPlace is what each of those counts for in service.locals: four for each
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

// A visit is one visitor's connection, with the connections to the local
// service that are for it alone. No other visitor gets one of them: a service
// may take the connection for the login (NTLM, Negotiate), and a request can be
// lost on a connection that the service closes.
type visit struct {
	service *service
	memory  *budget.Share // of the target's; nil has no limit
	heads   atomic.Int64  // bytes of large heads, see headsVisit
	kept    atomic.Int64  // bytes of bodies that are kept, see keptVisit
	http1   atomic.Bool   // the service has asked for HTTP/1.1
	locals  *budget.Share // of service.locals
	one     atomic.Bool   // there is a connection to the service that has no part of that

	mu         sync.Mutex
	transports map[transportKey]*http.Transport
	conns      map[*localConn]struct{}
	requests   int           // under way
	over       bool          // the visitor's connection has ended
	room       room          // see windows.go
	upload     *budget.Share // likewise: of service.uploads
	windows    *budget.Share // likewise: of service.windows
}

// A transportKey says what the connections of a transport have in common.
type transportKey struct {
	http1 bool
	name  int32 // of service.names
}

func (s *service) newVisit() *visit {
	return &visit{service: s, memory: s.share(), upload: s.uploads.Share(), windows: s.windows.Share(), locals: s.locals.Share()}
}

// visitOf returns the visit of a request, and what to call at its end. A
// handler that is not served by Target.Server knows nothing of connections:
// there each request is a visit of its own.
func (s *service) visitOf(r *http.Request) (v *visit, done func()) {
	v, ok := r.Context().Value(visitKey{}).(*visit)
	if !ok || v.service != s {
		v = s.newVisit()
		v.over = true
	}
	v.mu.Lock()
	v.requests++
	v.mu.Unlock()
	return v, v.done
}

// done ends a request.
func (v *visit) done() {
	v.mu.Lock()
	v.requests--
	v.closeLocked()
}

// end ends the visit: its connections are closed when no request is under way.
func (v *visit) end() {
	v.mu.Lock()
	v.over = true
	v.closeLocked()
}

// closeLocked closes all connections if nobody will use them any more, and
// releases the lock.
func (v *visit) closeLocked() {
	if !v.over || v.requests > 0 {
		v.mu.Unlock()
		return
	}
	conns, transports := v.conns, v.transports
	v.conns, v.transports = nil, nil
	v.service.giveBack(v.room)
	v.room = unasked
	v.upload.Put(int(v.upload.Used()))
	v.windows.Put(int(v.windows.Used()))
	v.mu.Unlock()
	for _, t := range transports {
		t.CloseIdleConnections()
	}
	for c := range conns {
		c.Close()
	}
}

// transport returns the visit's transport for k.
func (v *visit) transport(k transportKey) *http.Transport {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := v.transports[k]
	if t == nil {
		r := small
		if s := v.service; s.H2C || s.URL.Scheme == "https" && !k.http1 { // it may speak HTTP/2
			r = v.roomLocked()
		}
		t = v.service.transport(k, r, v.dial)
		if v.transports == nil {
			v.transports = make(map[transportKey]*http.Transport, 1)
		}
		v.transports[k] = t
	}
	return t
}

// dial is the transports' way to the local service.
func (v *visit) dial(ctx context.Context) (net.Conn, error) {
	leave, err := v.place(ctx)
	if err != nil {
		return nil, err
	}
	c, err := v.service.dial(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	l := newLocalConn(c.(duplex.Conn), func(l *localConn) { // it is one of TCP or a unix socket
		v.forget(l)
		leave()
	})
	if !v.take(l) {
		l.Close()
		return nil, net.ErrClosed
	}
	return l, nil
}

// place waits until the visit may have one more connection to the service. The first
// may be had at once. The function it returns gives the place back. Meanwhile a
// request gets the visit's next connection that is not used any more, if there is one.
func (v *visit) place(ctx context.Context) (leave func(), err error) {
	for !v.isOver() {
		if v.one.CompareAndSwap(false, true) {
			return func() { v.one.Store(false) }, nil
		}
		if v.locals.Take(localPlace, localPlace) > 0 {
			return func() { v.locals.Put(localPlace) }, nil
		}
		select {
		case <-time.After(placeInterval):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, net.ErrClosed
}

// isOver reports whether nobody needs a connection to the service any more.
func (v *visit) isOver() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.over && v.requests == 0
}

// take notes a new connection, if somebody still waits for it.
func (v *visit) take(l *localConn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over && v.requests == 0 {
		return false
	}
	if v.conns == nil {
		v.conns = make(map[*localConn]struct{}, 1)
	}
	v.conns[l] = struct{}{}
	return true
}

func (v *visit) forget(l *localConn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, l)
}
