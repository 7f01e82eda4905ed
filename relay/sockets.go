package relay

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"

	"keystay/internal/duplex"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/internal/stack"
	"keystay/sni"
)

// sockets are the listeners of a server, which can be paused, and the connections of
// its public port that are admitted, which can be cut. Make them with newSockets.
type sockets struct {
	log         *slog.Logger
	bounds      *bounds
	front       *fronts
	siblings    *siblings
	done        <-chan struct{} // ends the waiting of a listener
	panics      *panics.Log     // set before the first connection
	descriptors descriptors
	routing     gauge          // connections that are accepted and not yet where they belong
	wg          sync.WaitGroup // connections that are admitted
	rest        *duplex.Rest   // where visitors are who have sent nothing for long

	mu        sync.Mutex
	stopped   bool // stop was called: there are no more listeners
	closed    bool // cut was called: no connection is admitted any more
	listeners map[*listener]struct{}
	pausing   bool        // between pause and resume
	paused    []*listener // that pause has paused
	conns     map[*admitted]struct{}
	port      int // the public one; 0 while there is no listener
}

// newSockets makes sockets. The public port is port; 0 is that of the first listener.
func newSockets(log *slog.Logger, port int, b *bounds, f *fronts, sib *siblings, done <-chan struct{}) *sockets {
	return &sockets{log: log, descriptors: descriptors{log: log}, bounds: b, front: f, siblings: sib, done: done, port: port, rest: duplex.NewRest(restAfter), listeners: make(map[*listener]struct{}), conns: make(map[*admitted]struct{})}
}

// track notes ln, so that pause and stop find it, and makes its Accept survive errors
// that pass. One that is lasting may stay when the others are stopped. Each connection goes through accepted before Accept returns it, see
// listener.
func (k *sockets) track(ln net.Listener, lasting bool, accepted func(net.Conn) net.Conn) (net.Listener, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		ln.Close()
		return nil, net.ErrClosed
	}
	l := &listener{Listener: ln, log: k.log, done: k.done, lasting: lasting, accepted: accepted}
	if k.pausing {
		if err := k.pauseLocked(l); err != nil {
			ln.Close()
			return nil, err
		}
	}
	k.listeners[l] = struct{}{}
	return l, nil
}

// trackPublic is track for a listener of the public port.
func (k *sockets) trackPublic(ln net.Listener) (net.Listener, error) {
	k.mu.Lock()
	if a, ok := ln.Addr().(*net.TCPAddr); ok && k.port == 0 {
		k.port = a.Port
	}
	k.mu.Unlock()
	return k.trackCounted(ln, func(c net.Conn) net.Conn {
		if conn, ok := c.(sni.Conn); ok && k.siblings.at(c.RemoteAddr()) != nil {
			return &arrived{conn, nil, k.front.Load().believesOf(c)} // counted once it is known who it is
		}
		return k.arrive(c)
	})
}

// trackPort is track for a listener of one of the TCP ports that remotes have.
func (k *sockets) trackPort(ln net.Listener) (net.Listener, error) {
	return k.trackCounted(ln, k.arrive)
}

// trackCounted is track for a listener of visitors, which count says whom they count for.
func (k *sockets) trackCounted(ln net.Listener, count func(net.Conn) net.Conn) (net.Listener, error) {
	return k.track(ln, false, func(c net.Conn) net.Conn {
		if c = k.spared(c); c == nil {
			return nil
		}
		if c = count(c); c != nil {
			k.routing.add()
		}
		return c
	})
}

// untrack forgets a listener that track has returned, and that is closed.
func (k *sockets) untrack(ln net.Listener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := ln.(*listener)
	delete(k.listeners, l)
	if i := slices.Index(k.paused, l); i >= 0 { // it was closed meanwhile
		k.paused = slices.Delete(k.paused, i, i+1)
		l.resume()
	}
}

// arrive counts a connection that was accepted just now for its address, see
// [bounds.arrive]. One from a proxy is counted once it is known whose it is.
func (k *sockets) arrive(c net.Conn) net.Conn {
	if conn, ok := c.(sni.Conn); ok && k.front.Load().believesOf(c) {
		return &arrived{conn, nil, true}
	}
	return k.bounds.arrive(c)
}

// spared returns c, or nil where it was closed so that descriptors are left.
func (k *sockets) spared(c net.Conn) net.Conn {
	if k.descriptors.arrived(c) == forNone {
		k.descriptors.refused()
		socket.Abort(c)
		return nil
	}
	return c
}

// publicPort is the port that belongs into the URL of a name.
func (k *sockets) publicPort() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.port
}

// pause makes all listeners accept nothing until resume, see [Server.Pause].
func (k *sockets) pause() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped || k.pausing {
		return errors.New("pause: the server is paused or stops")
	}
	k.pausing = true
	for ln := range k.listeners {
		if err := k.pauseLocked(ln); err != nil {
			k.resumeLocked()
			return err
		}
	}
	return nil
}

func (k *sockets) pauseLocked(ln *listener) error {
	err := ln.pause()
	if err == nil {
		k.paused = append(k.paused, ln)
	}
	return err
}

// resume ends a pause.
func (k *sockets) resume() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.resumeLocked()
}

func (k *sockets) resumeLocked() {
	for _, ln := range k.paused {
		ln.resume()
	}
	k.paused, k.pausing = nil, false
}

// stop closes the listeners, for good, or with keep all that are not lasting. It reports
// whether it is the first to do so.
func (k *sockets) stop(keep bool) (first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first, k.stopped = !k.stopped, true
	for ln := range k.listeners {
		if !keep || !ln.lasting {
			ln.Close()
		}
	}
	k.resumeLocked() // so that Accept sees it
	return first
}

// isPaused reports whether it is between pause and resume.
func (k *sockets) isPaused() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pausing
}

// stopping reports whether stop was called.
func (k *sockets) stopping() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// admit notes c, so that cut finds it. It returns nil after cut.
func (k *sockets) admit(c net.Conn) *admitted {
	a := &admitted{sockets: k, conn: c}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.conns[a] = struct{}{}
	k.wg.Add(1)
	return a
}

// take admits a connection, and has it delivered.
func (k *sockets) take(c net.Conn, deliver func(net.Conn, *admitted) (kept bool)) {
	stack.GrowDeep()
	c, from, behind := departed(c)
	a := k.admit(c)
	if a == nil {
		c.Close()
		from.Close()
		k.routing.done()
		return
	}
	a.from, a.behind = from, behind
	a.routing.Store(true)
	defer k.panics.Catch("serving a connection", func() {
		socket.Abort(c)
		a.end()
	})
	if deliver(c, a) {
		a.routed()
	} else {
		a.end()
	}
}

// isNow tells who is behind the proxy that a connection comes from, for abort.
func (k *sockets) isNow(a *admitted, c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a.conn = c
}

// goesTo tells which connection carries the bytes of a to another node: where one side
// has ended nobody would see that the other one is cut.
func (k *sockets) goesTo(a *admitted, far duplex.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a.beyond = far
	if k.closed {
		a.cut()
	}
}

// cut ends all connections that are admitted, and admits no more.
func (k *sockets) cut() {
	defer k.rest.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for a := range k.conns {
		a.cut()
	}
}
