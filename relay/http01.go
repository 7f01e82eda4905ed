package relay

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/hostname"
)

// challengePath is where a CA's HTTP-01 requests go (RFC 8555, section 8.3).
const challengePath = "/.well-known/acme-challenge/"

// maxChallenge is the longest answer to an HTTP-01 request that is passed on, in
// bytes. A key authorization has some 90.
const maxChallenge = 4 << 10

// challengeTimeout is how long a remote may take for an HTTP-01 request: from the
// stream's beginning until it has taken the question and its answer has come.
const challengeTimeout = 15 * time.Second

// ServeHTTP01 answers plain HTTP on ln: ACME HTTP-01 requests go to the remote
// that holds the name, browsers are sent to https. It blocks like Serve.
func (s *Server) ServeHTTP01(ln net.Listener) error {
	s.init()
	return s.web.serve(ln, s.web.plain)
}

// port80 is what port 80 answers: it passes ACME HTTP-01 on and sends
// everything else to https. Where that would lead to nobody it says so itself,
// since a refused TLS connection shows no page.
type port80 struct {
	log       *slog.Logger
	ctx       context.Context // of the server
	dials     *dials
	router    *router
	pass      func(name string, l lead, local net.Addr) (net.Conn, error) // to a sibling
	shares    *shares
	sockets   *sockets     // for the port of URLs
	challenge http.Handler // for the relay's own name; may be nil
}

// handler answers the requests to port 80.
func (p *port80) handler() http.Handler {
	forward, fixed := p.challengeProxy(), p.fixedProxy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := hostname.OfHeader(r.Host)
		if err != nil {
			name = "" // an address, or nothing
		}
		challenge := strings.HasPrefix(r.URL.Path, challengePath) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
		l := p.router.now(name, false, asked{})
		switch to := l.to; {
		case to != toRelay && p.router.banned(requester(r)):
			notForYou.Write(w, r)
			return
		case to == untold:
			cannotTell.Write(w, r)
			return
		case to == toFixed && l.fixed.HTTP != "":
			p.passFixed(w, r, fixed, l.fixed, name)
			return
		case to == nowhere, name == "":
			noSuchName.Write(w, r)
			return
		case to == away && !challenge:
			isAway.Write(w, r)
			return
		case (to == toSession || to == toSibling) && !challenge && !p.router.admits(&l, requester(r)):
			notForYou.Write(w, r)
			return
		case challenge && to == toFixed:
			http.NotFound(w, r)
			return
		case challenge && to != toRelay:
			place, _ := heldBy(r)
			if place.here(plainMemory+challengeMemory) != nil {
				p.shares.outOfMemory()
				cannotTell.Write(w, r)
				return
			}
			defer func() { _ = place.here(plainMemory) }() // fewer bytes always fit
			forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nameKey{}, name)))
			return
		case challenge && p.challenge != nil:
			p.challenge.ServeHTTP(w, r)
			return
		case challenge:
			http.NotFound(w, r)
			return
		}
		host := name
		if port := p.sockets.publicPort(); port != 443 {
			host = net.JoinHostPort(name, strconv.Itoa(port))
		}
		uri := r.URL.RequestURI()
		if !strings.HasPrefix(uri, "/") { // "*" or worse, such as "@example.com"
			uri = "/"
		}
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "https://"+host+uri, movedTo(r))
	})
}

// requester is the address that a request comes from.
func requester(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // invalid where it is none
	return a.Addr().WithZone("")              // as addrPort, for bans and rules
}

// nameKey is the context key of the name that an HTTP-01 request is for.
type nameKey struct{}

// challengeProxy passes an HTTP-01 request to the remote that holds the name:
// the one thing that the relay parses, since the CA asks it in the clear.
func (p *port80) challengeProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Context().Value(nameKey{}).(string)})
			r.Out.Body = nil
			r.Out.ContentLength = 0
			// Nothing but the question: no upgrade to another protocol either.
			r.Out.Header = http.Header{"User-Agent": {r.In.UserAgent()}}
		},
		Transport: &http.Transport{
			DialContext:            p.dialChallenge,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			ResponseHeaderTimeout:  10 * time.Second,
			MaxResponseHeaderBytes: 8 << 10,
			ReadBufferSize:         maxChallenge,
			WriteBufferSize:        maxChallenge,
		},
		BufferPool: challengeBuffers{},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusSwitchingProtocols || r.ContentLength > maxChallenge {
				return errors.New("what the remote answers is no key authorization")
			}
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r.Body, maxChallenge), r.Body}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.log.Debug("cannot pass an HTTP-01 request on", "err", err)
			http.Error(w, "the device cannot be reached now", http.StatusBadGateway)
		},
	}
}

// challengeBuffers makes buffers of the size of an answer: the proxy's own have
// 32 KiB.
type challengeBuffers struct{}

func (challengeBuffers) Get() []byte { return make([]byte, maxChallenge) }
func (challengeBuffers) Put([]byte)  {}

// dialChallenge opens a stream for an HTTP-01 request to addr, a name and a port.
func (p *port80) dialChallenge(ctx context.Context, _, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l := p.router.now(name, true, asked{})
	local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if l.to == toSibling {
		far, err := p.pass(name, l, local)
		if err == nil {
			return far, nil
		}
		l = p.router.now(name, true, asked{late: true}) // the link here may be alive all the same
	}
	switch l.to {
	case elsewhere:
		return p.router.hopChallenge(ctx, l.place, challengeHeader(name, local))
	case toSession:
	default:
		return nil, errors.New("its remote is away")
	}
	stream, err := l.session.link.Open(challengeHeader(name, local), nil)
	if err == nil {
		stream.SetDeadline(time.Now().Add(challengeTimeout))
	}
	return stream, err
}

func challengeHeader(name string, local net.Addr) framing.Header {
	h := framing.Header{Name: name, Kind: framing.KindHTTP01}
	h.Source, h.Dest = addrPort(local), addrPort(local)
	return h
}
