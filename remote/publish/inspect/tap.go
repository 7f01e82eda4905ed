package inspect

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A tap is the ResponseWriter of a visitor, whose answer is copied. What it does is
// bounded and waits for nobody.
type tap struct {
	http.ResponseWriter
	in     *Inspector
	e      *exchange
	answer *side
	headed bool // the head of the answer has passed
	whole  bool // the request was served to its end
}

// tapped returns a request whose body is copied.
func (t *tap) tapped(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	out := *r
	s := t.in.side(t.e, true)
	s.splitBody(r.Header)
	out.Body = &tappedBody{r.Body, s, r.Trailer}
	return &out
}

// WriteHeader implements http.ResponseWriter.
func (t *tap) WriteHeader(code int) {
	t.head(code, t.Header())
	t.ResponseWriter.WriteHeader(code)
}

// head keeps the head of the answer, but interim ones.
func (t *tap) head(code int, h http.Header) {
	if t.headed || code < 200 && code != http.StatusSwitchingProtocols {
		return
	}
	t.headed = true
	kept, cut, cost := copied(h)
	if t.in.take(t.e, cost) {
		t.e.mu.Lock()
		if c := &t.e.content; !c.empty {
			c.status, c.first = code, time.Since(t.e.began)
			c.answer.header, c.answer.headCut = kept, cut
		}
		t.e.mu.Unlock()
	}
	if code != http.StatusSwitchingProtocols {
		t.answer.splitBody(kept)
	}
	t.in.changed()
}

// Write implements http.ResponseWriter.
func (t *tap) Write(p []byte) (int, error) {
	if len(p) > 0 {
		t.head(http.StatusOK, t.Header())
	}
	n, err := t.ResponseWriter.Write(p)
	t.answer.saw(p[:n])
	return n, err
}

// Unwrap is for http.ResponseController.
func (t *tap) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// end notes how the exchange has ended, and its trailers.
func (t *tap) end() {
	if t.whole && !t.headed {
		t.head(http.StatusOK, t.Header())
	}
	h := t.Header()
	trailer := make(http.Header)
	var announced []string
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			announced = append(announced, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for _, name := range announced {
		if v := h[name]; len(v) > 0 {
			trailer[name] = v
		}
	}
	for name, v := range h {
		if after, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && len(v) > 0 {
			trailer[after] = v
		}
	}
	kept, _, cost := copied(trailer)
	t.in.take(t.e, cost)
	t.e.mu.Lock()
	if c := &t.e.content; !c.empty {
		c.answer.trailer = kept
		c.ended, c.broken, c.took = true, !t.whole, time.Since(t.e.began)
	}
	t.e.mu.Unlock()
	t.in.changed()
}

// Switched copies what goes over the connection of a visitor whose protocol has changed:
// as frames, if it is a WebSocket.
func (t *tap) Switched(c net.Conn, answer http.Header) net.Conn {
	t.head(http.StatusSwitchingProtocols, answer)
	t.e.mu.Lock()
	t.e.switched = true
	t.e.mu.Unlock()
	request := t.in.side(t.e, true)
	if strings.EqualFold(first(answer, "Upgrade"), "websocket") {
		request.bodiless, t.answer.bodiless = true, true
		request.splitBy(new(webSocket))
		t.answer.splitBy(new(webSocket))
	}
	return &tappedConn{c, request, t.answer}
}

// A tappedBody is the body of a request, which is copied as it is read.
type tappedBody struct {
	io.ReadCloser
	side    *side
	trailer http.Header // filled in when the body has ended
}

// Read implements io.Reader.
func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.side.saw(p[:n])
	if err == io.EOF && len(b.trailer) > 0 {
		b.side.trailers(b.trailer)
	}
	return n, err
}

// A tappedConn is the connection of a visitor after a switch of protocols. One goroutine
// reads and one writes.
type tappedConn struct {
	net.Conn
	request, answer *side
}

// Read implements net.Conn.
func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.request.saw(p[:n])
	return n, err
}

// Write implements net.Conn. What goes out is copied first, so that what the visitor
// answers to it stands behind it.
func (c *tappedConn) Write(p []byte) (int, error) {
	c.answer.saw(p)
	return c.Conn.Write(p)
}

// CloseWrite ends this side.
func (c *tappedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return http.ErrNotSupported
}

var _ interface{ CloseWrite() error } = (*tappedConn)(nil)

// A side takes the copies of one direction of an exchange. One goroutine uses it.
type side struct {
	in          *Inspector
	e           *exchange
	fromVisitor bool
	kept, room  int  // bytes of the body, and how many are counted for
	bodiless    bool // only its messages are kept
	gone        bool // the exchange is not kept any more
}

func (in *Inspector) side(e *exchange, fromVisitor bool) *side {
	return &side{in: in, e: e, fromVisitor: fromVisitor}
}

func (s *side) message() *message {
	if s.fromVisitor {
		return &s.e.request
	}
	return &s.e.answer
}

// splitBody looks for messages in the body that a head announces.
func (s *side) splitBody(h http.Header) {
	of := mediaType(h)
	switch {
	case of == "text/event-stream" && first(h, "Content-Encoding") == "":
		s.splitBy(new(eventStream))
	case strings.HasPrefix(of, "application/grpc") && !strings.HasPrefix(of, "application/grpc-web-text"):
		s.splitBy(new(grpcMessages))
	}
}

func (s *side) splitBy(split splitter) {
	if !s.in.take(s.e, maxFrame) {
		return
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.e.empty {
		s.message().split = split
	}
}

// saw copies what has passed, as far as there is room.
func (s *side) saw(p []byte) {
	if len(p) == 0 || s.gone {
		return
	}
	n := 0
	if !s.bodiless {
		n = min(len(p), maxBody-s.kept)
	}
	if need := s.kept + n; need > s.room {
		room := min(max(2*s.room, need, 512), maxBody)
		if s.gone = !s.in.take(s.e, room-s.room); s.gone {
			return
		}
		s.room = room
	}
	s.kept += n
	cost := 0
	s.e.mu.Lock()
	if s.gone = s.e.empty; !s.gone {
		m := s.message()
		m.size += int64(len(p))
		if cap(m.body) < s.room { // readers keep the old one
			m.body = append(make([]byte, 0, s.room), m.body...)
		}
		m.body = append(m.body, p[:n]...)
		if m.split != nil {
			cost = s.e.feed(m.split, p, time.Since(s.e.began), !s.fromVisitor)
		}
	}
	s.e.mu.Unlock()
	if cost != 0 {
		s.in.take(s.e, cost)
	}
	s.in.changed()
}

// trailers keeps those of a request.
func (s *side) trailers(h http.Header) {
	kept, _, cost := copied(h)
	if !s.in.take(s.e, cost) {
		return
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.e.empty {
		s.message().trailer = kept
	}
}
