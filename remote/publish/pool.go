package publish

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

const (
	// maxLocalConns is how many connections to the local service one visitor's
	// connection may have. Over HTTP/1 it needs one. Over HTTP/2 it may have up
	// to maxVisitorStreams requests at once: those beyond wait for a connection, in
	// turn, as long as the visitor does.
	maxLocalConns = 32
	// placeInterval is how often a visit looks for a place that has become free.
	placeInterval = 100 * time.Millisecond
	// localIdleTimeout is how long a connection to the local service is kept
	// without a request.
	localIdleTimeout = 90 * time.Second
)

// A pool is the connections to one service that are for one visit alone. No other
// visitor gets one of them: a service may take the connection for the login (NTLM,
// Negotiate), and a request can be lost on a connection that the service closes.
type pool struct {
	visit   *visit
	service *service
	http1   atomic.Bool   // the service has asked for HTTP/1.1
	turns   chan struct{} // one for each keptConn that a request has or waits for

	// Guarded by visit.mu:
	over       bool // no request comes any more
	transports map[transportKey]*http.Transport
	conns      map[*localConn]struct{}
	kept       []*keptConn // those that no request uses
	requests   int         // under way
}

// A transportKey says what the connections of a transport have in common.
type transportKey struct {
	http1   bool
	upgrade bool  // the requests may become something else, as WebSockets
	name    int32 // of service.names
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

// close closes the connections of a pool that has no requests and gets none.
func (p *pool) close() {
	p.visit.mu.Lock()
	closeUnused, conns := p.unusedLocked(), p.conns
	p.conns, p.transports = nil, nil
	p.visit.mu.Unlock()
	closeUnused()
	for c := range conns {
		c.Close()
	}
}

// unusedLocked returns a function that closes the connections that no request uses now.
// That function is called without the lock.
func (p *pool) unusedLocked() (closeAll func()) {
	kept, transports := p.kept, slices.Collect(maps.Values(p.transports))
	p.kept = nil
	return func() {
		for _, t := range transports {
			t.CloseIdleConnections()
		}
		for _, c := range kept {
			c.Close()
		}
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

// dial is the transports' way to the local service. While it waits for a place, a
// request gets the pool's next connection that is not used any more, if there is one.
func (p *pool) dial(ctx context.Context) (net.Conn, error) {
	for !p.isOver() {
		if leave := p.place(); leave != nil {
			l, err := p.dialAt(ctx, leave)
			if err != nil {
				return nil, err
			}
			return patientConn{l}, nil
		}
		if err := p.pause(ctx); err != nil {
			return nil, err
		}
	}
	return nil, net.ErrClosed
}

// begin returns a connection for one request over HTTP/1.1, whose turn ends with it:
// one that is kept, unless it has to be fresh.
func (p *pool) begin(ctx context.Context, fresh bool) (c *keptConn, reused bool, err error) {
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	defer func() {
		if err != nil {
			<-p.turns
		}
	}()
	if fresh {
		p.closeKept()
	}
	for !p.isOver() {
		if c := p.reuse(); c != nil {
			return c, true, nil
		}
		if leave := p.place(); leave != nil {
			l, err := p.dialAt(ctx, leave)
			if err != nil {
				return nil, false, err
			}
			return newKeptConn(p, l), false, nil
		}
		if err := p.pause(ctx); err != nil {
			return nil, false, err
		}
	}
	return nil, false, net.ErrClosed
}

// reuse returns the connection that was used last of those that no request uses, and
// on which the service has sent nothing since, not even its end; nil if there is none.
func (p *pool) reuse() *keptConn {
	for {
		p.visit.mu.Lock()
		last := len(p.kept) - 1
		if last < 0 {
			p.visit.mu.Unlock()
			return nil
		}
		c := p.kept[last]
		p.kept[last] = nil
		p.kept = p.kept[:last]
		p.visit.mu.Unlock()
		c.idle.Stop()
		if socket.Silent(c) {
			return c
		}
		c.Close()
	}
}

// keep takes a connection back, for the next request.
func (p *pool) keep(c *keptConn) {
	p.visit.mu.Lock()
	defer p.visit.mu.Unlock()
	p.kept = append(p.kept, c)
	c.idle.Reset(localIdleTimeout)
}

// expire closes a connection that no request has used for localIdleTimeout.
func (p *pool) expire(c *keptConn) {
	p.visit.mu.Lock()
	i := slices.Index(p.kept, c)
	if i >= 0 {
		p.kept = slices.Delete(p.kept, i, i+1)
	}
	p.visit.mu.Unlock()
	if i >= 0 {
		c.Close()
	}
}

func (p *pool) closeKept() {
	p.visit.mu.Lock()
	kept := p.kept
	p.kept = nil
	p.visit.mu.Unlock()
	for _, c := range kept {
		c.Close()
	}
}

// dialAt reaches the local service. Leave gives back the place of the connection, when
// it is closed.
func (p *pool) dialAt(ctx context.Context, leave func()) (*localConn, error) {
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

// place takes a place for one more connection to a service, if the visit may have one.
// The first may be had at once. Leave gives the place back.
func (p *pool) place() (leave func()) {
	v := p.visit
	switch {
	case v.one.CompareAndSwap(false, true):
		return func() { v.one.Store(false) }
	case v.locals.Take(localPlace, localPlace) > 0:
		return func() { v.locals.Put(localPlace) }
	}
	return nil
}

// pause closes the visit's connections to other services that no request uses, and waits
// for placeInterval, or until ctx ends.
func (p *pool) pause(ctx context.Context) error {
	p.closeOthers()
	select {
	case <-time.After(placeInterval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
	var unused []func()
	for _, other := range p.visit.pools {
		if other != p {
			unused = append(unused, other.unusedLocked())
		}
	}
	p.visit.mu.Unlock()
	for _, closeAll := range unused {
		closeAll()
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
