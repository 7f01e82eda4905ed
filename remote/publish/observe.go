package publish

import (
	"bufio"
	"net"
	"net/http"
)

// An Answer is what an observer is told of the answer to one request.
type Answer struct {
	// Status is the code of its head; 101 where the protocol is switched, and 0 where it
	// has ended without one.
	Status int
	// Written is how many bytes of its body the visitor's connection has taken. What
	// follows a switch is not counted.
	Written int64
	// Ended says that nothing follows.
	Ended bool
	// Cut says that it has ended before it was whole.
	Cut bool
}

// observe serves a request and tells the site's observer of it.
func (s *Site) observe(w http.ResponseWriter, r *http.Request) {
	told := s.observer(r)
	if told == nil {
		s.serve(w, r)
		return
	}
	o := &observed{ResponseWriter: w, told: told}
	whole := false
	defer func() {
		o.answer.Ended, o.answer.Cut = true, !whole
		if whole && o.answer.Status == 0 {
			o.answer.Status = http.StatusOK // as net/http answers for a handler that writes nothing
		}
		told(o.answer)
	}()
	s.serve(o, r)
	whole = true
}

// An observed is the ResponseWriter of a visitor whose request is observed. One goroutine
// at a time uses it.
type observed struct {
	http.ResponseWriter
	told   func(Answer)
	answer Answer
}

// head tells of the head of the answer, once.
func (o *observed) head(code int) {
	if o.answer.Status == 0 {
		o.answer.Status = code
		o.told(o.answer)
	}
}

// WriteHeader implements http.ResponseWriter.
func (o *observed) WriteHeader(code int) {
	if code >= 200 {
		o.head(code)
	}
	o.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (o *observed) Write(p []byte) (int, error) {
	if len(p) > 0 {
		o.head(http.StatusOK)
	}
	n, err := o.ResponseWriter.Write(p)
	o.answer.Written += int64(n)
	return n, err
}

// Hijack implements http.Hijacker.
func (o *observed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.head(http.StatusSwitchingProtocols)
	}
	return c, rw, err
}

// Unwrap is for http.ResponseController.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }
