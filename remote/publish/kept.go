package publish

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
)

const (
	// keptBody is how much of a request's body is kept, so that the request can
	// be sent again over another connection when the service has not taken it:
	// it has said GOAWAY, or closed an idle connection. A longer body is sent
	// once.
	keptBody = 64 << 10
	// keptVisit bounds what is kept at once for all requests of one visitor's
	// connection: 100 streams times keptBody would be 6.4 MiB.
	keptVisit = 1 << 20
)

// errBodyGone is why a request cannot be sent again: of its body, more was sent
// than is kept.
var errBodyGone = errors.New("more of the body was sent than is kept for another try")

// A keptSource is a request's body, of which the beginning is kept.
type keptSource struct {
	visit   *visit
	body    io.ReadCloser
	trailer http.Header // of the visitor's request: net/http fills it in at the end of body

	reading sync.Mutex // held while body is read

	mu     sync.Mutex
	newest *keptReader
	kept   []byte // the beginning, and so far all that was read of body
	once   bool   // no reader will be asked for any more
	gone   bool   // kept was let go of: the newest reader has read behind it
	end    error  // what body has returned behind kept
}

// keepBody lets req be sent again, as far as keptBody reaches. The caller calls
// release when it will not be sent again.
func keepBody(req *http.Request, v *visit, trailer http.Header) (release func()) {
	if !hasBody(req) {
		return func() {}
	}
	s := &keptSource{visit: v, body: req.Body, trailer: trailer}
	s.newest = &keptReader{source: s, trailer: req.Trailer}
	req.Body = s.newest
	req.GetBody = s.again
	return s.release
}

// again is the request's GetBody.
func (s *keptSource) again() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once || s.gone {
		return nil, errBodyGone
	}
	s.newest.closed = true
	s.newest = &keptReader{source: s}
	return s.newest, nil
}

func (s *keptSource) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once = true
	if s.newest.off == len(s.kept) || s.newest.closed {
		s.forgetLocked()
	}
}

func (s *keptSource) forgetLocked() {
	if !s.gone {
		s.gone = true
		s.visit.putKept(len(s.kept))
		s.kept = nil
	}
}

// A keptReader reads the body from its beginning. Only the newest of a source
// is read; the others are closed.
type keptReader struct {
	source  *keptSource
	trailer http.Header // of the try that reads, filled in at the end; nil is none
	off     int         // how much of what is kept it has read
	closed  bool
}

// Read implements io.Reader.
func (r *keptReader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err == io.EOF {
		r.fill()
	}
	return n, err
}

// fill fills the trailers of the try in. A try that another one has followed gets none: both
// may be looking at the same map, and Go ends a program that does so while it is written.
func (r *keptReader) fill() {
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == r && r.trailer != nil {
		maps.Copy(r.trailer, s.trailer)
	}
}

func (r *keptReader) read(p []byte) (int, error) {
	s := r.source
	if n, said, err := r.readKept(p); said {
		return n, err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if n, said, err := r.readKept(p); said { // an older reader has got it meanwhile
		return n, err
	}
	most, room := s.reserve(len(p))
	n, err := s.body.Read(p[:most])
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		s.visit.putKept(room) // what was there has been let go of meanwhile
	case len(s.kept)+n > keptBody: // it was full, and this was not the end
		s.forgetLocked()
		if s.newest != r {
			s.end = errBodyGone // for the newest: r has taken what comes next
		}
	default:
		s.kept = append(s.kept, p[:n]...)
		s.visit.putKept(room - n)
		s.end = err
		r.off += n
	}
	return n, err
}

// readKept reads what is kept already. It reports whether that, or an end, was
// there to be said.
func (r *keptReader) readKept(p []byte) (n int, said bool, err error) {
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.closed:
		return 0, true, http.ErrBodyReadAfterClose
	case r.off < len(s.kept):
		n = copy(p, s.kept[r.off:])
		r.off += n
		return n, true, nil
	case s.end != nil:
		return 0, true, s.end
	}
	return 0, false, nil
}

// reserve returns how much of n the next read of the body may take: the room that
// there is, which then counts for the visit, or all if the body is not kept or
// kept is full.
func (s *keptSource) reserve(n int) (most, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room = min(n, keptBody-len(s.kept))
	switch {
	case s.gone || !s.once && room == 0:
		return n, 0
	case s.once:
		s.forgetLocked()
		return n, 0
	case !s.visit.takeKept(room):
		s.forgetLocked()
		return n, 0
	}
	return room, room
}

// Close ends the reader. The body stays open for the next one: whoever made the
// request closes it.
func (r *keptReader) Close() error {
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	r.closed = true
	if s.once && r == s.newest {
		s.forgetLocked()
	}
	return nil
}
