package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"keystay/internal/httpdrain"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// What is counted for a connection over which HTTP is spoken with the relay
// itself, in bytes: at least what it can make the relay hold. Beside it each counts
// unfinishedBase.
const (
	// tlsMemory is for a TLS connection: its buffers and the stack of its handshake.
	tlsMemory = 16 << 10
	// siteMemory is for HTTP in TLS: a request's head and the page, and what TLS takes in.
	siteMemory = tlsMemory + 43<<10
	// plainMemory is for HTTP without TLS.
	plainMemory = 40 << 10
	// challengeMemory is for an HTTP-01 request that is passed on to a remote, and for
	// its answer.
	challengeMemory = 40 << 10
)

const (
	// maxSiteHead is the longest head of a request to the relay's site or to its
	// admin address, in bytes. The library reads up to 4 KiB more.
	maxSiteHead = 8 << 10
	// maxPlainHead is the same for port 80, where a browser sends the cookies that it
	// has of the name.
	maxPlainHead = 16 << 10
	// answerTimeout is how long the answer to one request may take: it is short
	// unless it comes from a remote, which has challengeTimeout.
	answerTimeout = 10 * time.Second
	// settleTimeout is how long connections that were accepted may take to find
	// their session, or to finish a request of their own, when the server leaves. That
	// is as long as the slowest may take: a PROXY header, a hello, and two nodes that
	// are asked to take it, or a sibling.
	settleTimeout = proxyTimeout + sni.HelloTimeout + maxHops*hopTimeout
)

// web has the HTTP servers of a relay, each with the same limits: the relay's site,
// port 80, and the operator's.
type web struct {
	ctx     context.Context // of the server
	panics  *panics.Log
	sockets *sockets
	shares  *shares
	handed  *handoff // connections for the site
	behinds *handoff // connections to port 80 of whoever is behind a proxy
	reading gauge    // of these, those whose PROXY header is being read
	behind  func(sni.Conn) (*proxied, *limits.Connection)
	site    *httpdrain.Server // on the relay's own name
	plain   *httpdrain.Server // port 80

	mu     sync.Mutex
	admins []*httpdrain.Server
}

// server returns a server with the limits that every one here has.
func (w *web) server(h http.Handler, maxHead int, answer time.Duration) *httpdrain.Server {
	return httpdrain.New(&http.Server{
		Handler:           w.caught(h),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      answer,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          log.New(io.Discard, "", 0), // its lines carry visitors' addresses
		BaseContext:       func(net.Listener) context.Context { return w.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := socket.Find[*peeked](c); ok {
				ctx = context.WithValue(ctx, peekedKey{}, p)
			}
			if h, ok := socket.Find[*headConn](c); ok {
				ctx = context.WithValue(ctx, headKey{}, h)
			}
			return ctx
		},
	})
}

// peekedKey and headKey are the context keys of a request's connection.
type (
	peekedKey struct{}
	headKey   struct{}
)

// heldBy returns the place of the connection of r, and what it counts for its
// address; either may be nil.
func heldBy(r *http.Request) (place *pending, from *limits.Connection) {
	if p, ok := r.Context().Value(peekedKey{}).(*peeked); ok {
		return p.place, p.from
	}
	return nil, nil
}

// hand gives a connection for the relay's own name to the site. It waits until that
// takes it.
func (w *web) hand(c net.Conn) {
	w.site.Expect(c)
	w.handed.hand(c)
}

// serve serves srv on ln, see [Server.Serve].
func (w *web) serve(ln net.Listener, srv *httpdrain.Server) error {
	tracked, err := w.sockets.track(ln, srv != w.plain, func(c net.Conn) net.Conn {
		var from *limits.Connection
		if srv == w.plain { // the operator's address has its own guards
			if c = w.sockets.spared(c); c == nil {
				return nil
			}
			if c = w.sockets.arrive(c); c == nil {
				return nil
			}
			var behind bool
			if c, from, behind = departed(c); behind {
				w.reading.add()
				go w.readProxied(c.(sni.Conn))
				return nil
			}
			from.Greeted() // the server has a time limit for the rest
		}
		if c = w.placed(c, from); c != nil {
			srv.Expect(c)
		}
		return c
	})
	if err != nil {
		return ErrServerClosed
	}
	if err := srv.Serve(tracked); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ErrServerClosed
}

// readProxied reads the PROXY header of a connection to port 80, and gives it to the
// server.
func (w *web) readProxied(c sni.Conn) {
	defer w.reading.done()
	defer w.panics.Catch("reading a PROXY header", func() { socket.Abort(c) })
	stop := context.AfterFunc(w.ctx, func() { socket.Abort(c) })
	p, from := w.behind(c)
	if !stop() || p == nil {
		from.Close()
		return
	}
	from.Greeted()
	if placed := w.placed(p, from); placed != nil {
		w.plain.Expect(placed)
		w.behinds.hand(placed)
	}
}

// serveAdmin is serve for a server that begins now.
func (w *web) serveAdmin(ln net.Listener, srv *httpdrain.Server) error {
	w.mu.Lock()
	w.admins = append(w.admins, srv) // before sockets have the listener, so that close finds it
	w.mu.Unlock()
	return w.serve(ln, srv)
}

// placed gives a connection that an HTTP server is about to take a place, until it
// is closed. Without one it is closed, and nil is returned.
func (w *web) placed(c net.Conn, from *limits.Connection) net.Conn {
	conn, ok := c.(sni.Conn)
	if !ok {
		c.Close()
		from.Close()
		return nil
	}
	p := w.shares.unfinished.beginHere(conn, plainMemory)
	if p == nil {
		w.shares.outOfMemory()
		c.Close()
		from.Close()
		return nil
	}
	return &headConn{Conn: &peeked{Conn: conn, place: p, from: from}}
}

// caught is h, with a panic in it counted. The HTTP server ends the connection. It sees no
// names of trailers that a request announces: nobody asks for them, thousands fit in one line,
// and the library keeps them until the body has come, at some 80 bytes each.
func (w *web) caught(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer w.panics.Catch("answering a request", func() { panic(http.ErrAbortHandler) })
		r.Trailer = nil
		h.ServeHTTP(rw, r)
	})
}

// settle waits until what was accepted has been routed, and ends the HTTP
// servers in good order: with keep but for the operator's, which stay.
func (w *web) settle(ctx context.Context, keep bool) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, srv := range w.served() {
		if keep && srv != w.plain {
			continue
		}
		wg.Go(func() {
			if srv == w.plain {
				_ = w.reading.wait(ctx)
			}
			srv.Shutdown(ctx)
		})
	}
	_ = w.sockets.routing.wait(ctx)
	w.site.Shutdown(ctx) // what was routed there has arrived
	wg.Wait()
}

// close cuts the HTTP servers. Their listeners are closed before.
func (w *web) close() {
	w.handed.Close()
	w.behinds.Close()
	w.site.Close()
	for _, srv := range w.served() {
		srv.Close()
	}
	_ = w.reading.wait(context.Background())
}

// served returns the servers that have listeners.
func (w *web) served() []*httpdrain.Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*httpdrain.Server{w.plain}, w.admins...)
}
