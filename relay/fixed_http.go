package relay

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"time"

	"keystay/internal/fields"
	"keystay/internal/hint"
	"keystay/internal/urlpath"
)

// fixedKey is the context key of the request that is passed on to a server of the
// operator's.
type fixedKey struct{}

// A fixedRequest is a request to port 80 for a server of the operator's.
type fixedRequest struct {
	to          *fixed
	name        string // empty where the request names no host
	path, query string // see urlpath.Target
	source      net.Addr
	last        bool // no other request comes on its connection, see bodyComes
}

// passFixed answers a request to port 80 by the operator's own server of plain HTTP: one
// request over one connection, which says who asks. The server gets a path and the host
// that the relay has read, and no target that would choose another one.
func (p *port80) passFixed(w http.ResponseWriter, r *http.Request, proxy http.Handler, to *fixed, name string) {
	path, query, ok := urlpath.Target(r)
	switch {
	case urlpath.IsForProxies(r.Method):
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110, section 15.5.6
		notThisMethod.Write(w, r)
		return
	case !ok:
		noPath.Write(w, r)
		return
	}
	place, _ := heldBy(r)
	if place.here(plainMemory+challengeMemory) != nil {
		p.shares.outOfMemory()
		cannotTell.Write(w, r)
		return
	}
	defer func() { _ = place.here(plainMemory) }() // fewer bytes always fit
	if r.Body != http.NoBody {
		r.Body = &untrailed{ReadCloser: r.Body, of: r}
	}
	asks := &fixedRequest{to: to, name: name, path: path, query: query}
	if h, ok := r.Context().Value(headKey{}).(*headConn); ok && r.ContentLength != 0 {
		h.bodyComes()
		asks.last = true
	}
	if c, ok := r.Context().Value(peekedKey{}).(*peeked); ok {
		if asks.source = c.RemoteAddr(); p.dials.has(c) {
			p.fixedAway(w, asks, errLoop)
			return
		}
	}
	proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fixedKey{}, asks)))
}

// An untrailed is the body of a request, without its trailers: the proxy passes none on. The
// library keeps up to 4 KiB of them in the request, and a field of four bytes costs it some 120.
// It notes them as the body ends, in Read or in Close.
type untrailed struct {
	io.ReadCloser
	of *http.Request // as the library has made it

	mu sync.Mutex // Read and Close come from goroutines of their own, and both set of.Trailer
}

// Read implements io.Reader.
func (b *untrailed) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.of.Trailer = nil
	}
	return n, err
}

// Close implements io.Closer. It reads what is left of the body, up to a limit.
func (b *untrailed) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.ReadCloser.Close()
	b.of.Trailer = nil
	return err
}

// fixedProxy passes requests on.
func (p *port80) fixedProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			asks := r.In.Context().Value(fixedKey{}).(*fixedRequest)
			r.Out.URL = urlpath.Outgoing("http", asks.to.HTTP, asks.path, asks.query)
			r.Out.Host = r.In.Host
			if local, ok := r.In.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && r.In.Host == "" {
				r.Out.Host = local.String() // else it would be the server's
			}
			r.Out.Header.Del("Upgrade") // requests alone: what lasts belongs behind TLS
			r.Out.Header.Del("Connection")
			fields.DropOfFront(r.Out.Header) // here the relay is the front
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			DialContext:            p.dialFixed,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			ResponseHeaderTimeout:  challengeTimeout,
			MaxResponseHeaderBytes: maxPlainHead,
			ReadBufferSize:         maxChallenge,
			WriteBufferSize:        maxChallenge,
		},
		BufferPool: challengeBuffers{},
		ModifyResponse: func(r *http.Response) error {
			if asks := r.Request.Context().Value(fixedKey{}).(*fixedRequest); asks.last {
				r.Header.Set("Connection", "close")
			}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.fixedAway(w, r.Context().Value(fixedKey{}).(*fixedRequest), err)
		},
	}
}

// fixedAway says that the operator's server does not answer.
func (p *port80) fixedAway(w http.ResponseWriter, asks *fixedRequest, err error) {
	var op *net.OpError
	to := asks.to
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, errLoop) {
		if tell, n := to.away.Failed(1); tell {
			p.log.Warn("the server behind static or fallback does not answer", "to", to.HTTP, "err", err, "visitors", n, hint.Attr(hint.FixedAway.Do))
		}
	}
	if asks.last {
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "the server of this name cannot be reached now", http.StatusBadGateway)
}

// dialFixed connects to the server of a request, and says who asks.
func (p *port80) dialFixed(ctx context.Context, _, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, fixedTimeout)
	defer cancel()
	c, err := p.dials.dial(ctx, p.ctx, addr)
	if err != nil {
		return nil, err
	}
	dialled := &dialledConn{TCPConn: c, of: p.dials}
	asks := ctx.Value(fixedKey{}).(*fixedRequest)
	local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	header, err := asks.to.header(asks.source, local, asks.name)
	if err == nil && len(header) > 0 {
		c.SetWriteDeadline(time.Now().Add(fixedTimeout))
		_, err = c.Write(header)
		c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		dialled.Close()
		return nil, err
	}
	return dialled, nil
}

// A dialledConn is forgotten when it is closed.
type dialledConn struct {
	*net.TCPConn
	of   *dials
	once sync.Once
}

// Close closes the connection.
func (c *dialledConn) Close() error {
	c.once.Do(func() { c.of.forget(c.TCPConn) })
	return c.TCPConn.Close()
}

var _ interface{ CloseWrite() error } = (*dialledConn)(nil)

// oldAgents are parts of the User-Agent of programs that do not know 308: Internet
// Explorer, which learned it on Windows 10 alone, browsers older than that, and Wget
// before 1.20.
var oldAgents = []string{"MSIE ", "Trident/", "Mozilla/4.", "Mozilla/3.", "Wget/1.1", "Wget/1.0"}

// movedTo is the status of a redirect to https. At 308 a client keeps its method (RFC
// 9110, section 15.4.9). One that is older than that stops there, and follows 301, at
// which a GET stays one. A request of another method never gets 301: it would become a
// GET.
func movedTo(r *http.Request) int {
	isOld := !r.ProtoAtLeast(1, 1) || slices.ContainsFunc(oldAgents, func(s string) bool { return strings.Contains(r.UserAgent(), s) })
	if isOld && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return http.StatusMovedPermanently
	}
	return http.StatusPermanentRedirect
}
