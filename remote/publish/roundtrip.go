package publish

import (
	"errors"
	"io"
	"maps"
	"net/http"

	"golang.org/x/net/http2"
)

// RoundTrip sends a request to the service over a connection of its visitor.
// It is an http.RoundTripper for what Handler has prepared.
//
// HTTP/1.1 is spoken for what only HTTP/1.1 has, which is Upgrade. Else an https
// service chooses between it and HTTP/2. Trailers and bodies in both directions
// at once pass with either.
//
// A request is sent again only if the service has not processed it, or if that
// does no harm (RFC 9110, section 9.2.2; RFC 9113, section 8.7). A transport of
// package net/http does most of it by itself, given that the body is kept. What is
// here are the answers that ask for another connection, and a connection that breaks
// where the transport does not send again, or where there is none (see send).
func (s *service) RoundTrip(proxied *http.Request) (*http.Response, error) {
	p := exchangeOf(proxied).pool
	req := s.prepare(proxied)
	release := keepBody(req, p.visit, exchangeOf(proxied).request.Trailer)
	defer release()
	key := transportKey{http1: p.http1.Load() || wantsUpgrade(req), upgrade: wantsUpgrade(req), name: s.name.Load()}
	res, err := s.send(p, key, req, false)
	next, again := s.next(key, req, res, err)
	if again {
		if once, ok := rewind(req); ok {
			if res != nil {
				discard(res)
			}
			res, err = s.send(p, next, once, true)
			s.learn(p, key, next, res)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.check(req, res); err != nil {
		if res.StatusCode == http.StatusSwitchingProtocols {
			res.Body.Close() // it may never end
		} else {
			discard(res)
		}
		return nil, err
	}
	s.answers()
	if res.StatusCode == http.StatusSwitchingProtocols {
		// ReverseProxy knows requests for one protocol alone: this is the one of
		// them that the service has taken. The transport may still read req.
		proxied.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {res.Header.Get("Upgrade")}}
	} else {
		res.Body = &heardBody{res.Body, res, s, exchangeOf(proxied).service, req.Context()}
	}
	return res, nil
}

// send sends a request. Plain HTTP/1.1 goes over the pool's own connections, and over a
// fresh one where the request is sent again; all else goes over a transport.
func (s *service) send(p *pool, k transportKey, req *http.Request, again bool) (*http.Response, error) {
	x := exchangeOf(req)
	once := *req
	once.Close = s.isLast(k, req)
	if s.URL.Scheme != "http" || s.H2C || k.upgrade {
		if len(req.Trailer) > 0 {
			once.GetBody = nil // the transport would send it again with the same map of trailers
		}
		return p.transport(k).RoundTrip(x.traced(&once))
	}
	c, reused, err := p.begin(req.Context(), again)
	if err != nil {
		return nil, err
	}
	x.asks(c.answerConn, reused)
	return c.roundTrip(&once)
}

// isLast reports whether no request follows on the connection of req. A service that leaves
// a body unread takes it for the next request, which nothing here has seen: so it is told
// that there is none. HTTP/2 keeps bodies apart by itself. Where it is not known yet whether
// an https service speaks that, the request is the last one, too.
func (s *service) isLast(k transportKey, req *http.Request) bool {
	return hasBody(req) && !s.H2C && (s.URL.Scheme == "http" || k.http1 || !s.http2.Load())
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// prepare makes the request that is sent of the one that ReverseProxy has made.
func (s *service) prepare(req *http.Request) *http.Request {
	out := *req
	if hasBody(req) && req.ContentLength < 0 && len(req.TransferEncoding) == 0 { // over HTTP/2
		// Of a GET and the like net/http would read on in a goroutine of its own while it
		// looks at the names of trailers, and the end of the body fills these in.
		if len(req.Trailer) > 0 {
			out.TransferEncoding = []string{"chunked"}
		} else {
			out.Trailer = nil
		}
	}
	switch {
	case (s.H2C || hasBody(req)) && wantsUpgrade(req):
		// HTTP/2 has no Upgrade, a WebSocket has no body, and a server may ignore Upgrade
		// (RFC 9110, section 7.8).
		out.Header = req.Header.Clone()
		out.Header.Del("Upgrade")
		out.Header.Del("Connection")
	case req.Method == http.MethodPut || req.Method == http.MethodDelete:
		// Package net/http sends PUT and DELETE again, when a connection breaks,
		// only with this header. An empty one is not sent.
		if _, ok := req.Header["Idempotency-Key"]; !ok {
			out.Header = req.Header.Clone()
			out.Header["Idempotency-Key"] = nil
		}
	}
	return &out
}

// idempotent reports whether a request may be processed twice (RFC 9110, section
// 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

func wantsUpgrade(req *http.Request) bool { return req.Header.Get("Upgrade") != "" }

// next returns what to try after res or err: whether, and with which transport.
func (s *service) next(k transportKey, req *http.Request, res *http.Response, err error) (transportKey, bool) {
	var reset http2.StreamError
	switch {
	case req.Context().Err() != nil:
		return k, false
	case exchangeOf(req).unexpected:
		k.http1 = true // nothing has been sent
		return k, true
	case errors.As(err, &reset):
		// The service has not processed the request, and never will over HTTP/2.
		k.http1 = true
		return k, reset.Code == http2.ErrCodeHTTP11Required && !s.H2C
	case err != nil:
		// A connection that was used before has broken as the request went out.
		// Over HTTP/1 a transport sends the request again, but not where a write was
		// the first to learn of it. Over HTTP/2 it does not, nor does a keptConn.
		body, _ := req.Context().Value(bodyKey{}).(*visitorBody)
		return k, exchangeOf(req).reused && !s.isLate(err) && idempotent(req.Method) && (body == nil || !body.failed.Load())
	case s.URL.Scheme != "https":
		return k, false
	case res.StatusCode == http.StatusHTTPVersionNotSupported && res.ProtoMajor == 2:
		k.http1 = true
		return k, true
	case res.StatusCode == http.StatusMisdirectedRequest && !s.misdirects.Load():
		// RFC 9110, section 15.5.20: over another connection, whatever the method.
		if len(s.names) > 1 {
			k.name = (k.name + 1) % int32(len(s.names)) // two at most
		} else {
			k.http1 = true
		}
		return k, true
	}
	return k, false
}

// learn notes what has come of another try.
func (s *service) learn(p *pool, tried, next transportKey, res *http.Response) {
	misdirected := res != nil && res.StatusCode == http.StatusMisdirectedRequest
	switch {
	case misdirected:
		s.misdirects.Store(true) // it means something else by it
		s.name.Store(tried.name)
	case res != nil && next.http1 && !tried.http1:
		p.http1.Store(true)
	}
}

// rewind returns a request for another try, with its body from the beginning.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.GetBody == nil {
		return req, true // there is no body
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := *req // the first try may still look at it, and at its trailers
	again.Body, again.Trailer = body, maps.Clone(req.Trailer)
	body.(*keptReader).trailer = again.Trailer
	return &again, true
}

// maxDiscard is how much of an answer that nobody gets is read, so that the
// connection can be used on.
const maxDiscard = 64 << 10

func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, maxDiscard)
	res.Body.Close()
}

// check refuses an answer that package net/http takes, but that cannot be
// passed on.
func (s *service) check(req *http.Request, res *http.Response) error {
	switch code := res.StatusCode; {
	case code == http.StatusSwitchingProtocols:
		if !wantsUpgrade(req) || !switches(req, res) {
			return errSwitch
		}
		if t := exchangeOf(req).tunnel; t != nil && !t.accepts(res.Header) {
			return errAccept
		}
	case code < 200 || code > 999: // others below 200 are not the last answer
		return errStatus
	}
	return nil
}

var (
	errStatus = errors.New("the status code of its answer is outside 100 to 999")
	errAccept = errors.New("its Sec-WebSocket-Accept does not fit the key (RFC 6455, section 4.2.2)")
	errSwitch = errors.New("it switches to a protocol that was not asked for")
)
