package publish

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxAnswerHead is how long the head of an answer may be, and each interim one
	// before it; that of package net/http.
	maxAnswerHead = 10 << 20
	// sentTimeout is how long the end of an answer waits for the request to be sent, so that
	// the connection and the visitor's can be used on: a service may answer before it has read.
	sentTimeout = 50 * time.Millisecond
)

// errLongHead is the error of an answer with a longer head.
var errLongHead = errors.New("the head of its answer is longer than 10 MiB")

// A keptConn is a connection to a service over which requests go one after the other,
// in HTTP/1.1. Each is sent and its answer is read by the goroutine that asks: no other
// one waits on the connection, as those of package net/http's transport do.
type keptConn struct {
	*answerConn
	pool *pool
	head io.LimitedReader // what may still be read for a head
	in   *bufio.Reader    // of head
	to   outlet           // answerConn
	out  *bufio.Writer    // of to
	idle *time.Timer      // closes it, while it is in pool.kept
}

func newKeptConn(p *pool, c net.Conn) *keptConn {
	k := &keptConn{answerConn: &answerConn{Conn: c}, pool: p}
	k.head.R = k.answerConn
	k.to.w = k.answerConn
	k.in, k.out = bufio.NewReader(&k.head), bufio.NewWriter(&k.to)
	k.idle = time.AfterFunc(localIdleTimeout, func() { p.expire(k) })
	k.idle.Stop()
	return k
}

// Close implements net.Conn.
func (c *keptConn) Close() error {
	c.idle.Stop()
	return c.answerConn.Close()
}

// roundTrip sends a request and returns its answer. With an error the connection is
// closed.
func (c *keptConn) roundTrip(req *http.Request) (*http.Response, error) {
	t := &turn{conn: c, stop: context.AfterFunc(req.Context(), func() { c.Close() })}
	if !hasBody(req) {
		t.send(req)
	} else {
		if req.ProtoAtLeast(1, 1) && httpguts.HeaderValuesContainsToken(req.Header["Expect"], "100-continue") {
			t.leave = make(chan bool, 1)
			expecting := *req
			expecting.Body = &expectedBody{ReadCloser: req.Body, turn: t}
			req = &expecting
		}
		t.sent = make(chan struct{})
		go func() {
			defer close(t.sent)
			t.send(req)
		}()
	}
	res, err := c.answer(req, t)
	if cause := t.begins(); err != nil {
		t.end(false)
		return nil, cmp.Or(cause, err)
	}
	t.last = res.Close || req.Close || res.StatusCode < 200
	t.ReadCloser, res.Body = res.Body, t
	if req.Method == http.MethodHead || res.ContentLength == 0 {
		t.end(true)
	}
	return res, nil
}

// answer reads the head of the answer. It tells the request's trace of interim answers
// before it, and lets an expected body go at a 100.
func (c *keptConn) answer(req *http.Request, t *turn) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	for {
		c.head.N = maxAnswerHead
		res, err := http.ReadResponse(c.in, req)
		switch {
		case err != nil && c.head.N <= 0:
			return nil, errLongHead
		case err != nil:
			return nil, err
		case res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols:
			c.head.N = math.MaxInt64
			return res, nil
		case res.StatusCode == http.StatusContinue:
			t.mayBody(true)
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// A turn is one request over a keptConn, and the body of its answer.
type turn struct {
	io.ReadCloser // of the answer

	conn  *keptConn
	stop  func() bool   // keeps the end of the request's context from closing conn
	last  bool          // no other request may follow
	over  bool          // conn is somebody else's, or closed
	leave chan bool     // whether a body that was announced with Expect may go; else nil
	sent  chan struct{} // closed when the request has been sent; nil if it was at once
	err   error         // of sending it

	unwanted atomic.Bool // the service has answered without that body
	mu       sync.Mutex
	begun    bool        // the answer has, or none comes
	timer    *time.Timer // ends the wait for its beginning
	cause    error       // why conn was closed, if that was here
}

// send sends the request. What is wrong with it shows where the answer is read, which
// may be there in spite of it; but an error of the body ends the connection, since no
// service can answer half a request. The error that Request.Write returns for one of the
// body does not unwrap to it.
func (t *turn) send(req *http.Request) {
	c := t.conn
	if t.err = req.Write(c.out); t.err == nil {
		t.err = c.out.Flush()
	}
	switch {
	case t.err == nil:
		t.wait(c.pool.service.answer)
	case !c.to.broken && !t.unwanted.Load():
		t.cut(t.err)
	}
}

// wait bounds the time until the answer begins; 0 is no bound.
func (t *turn) wait(most time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if most > 0 && !t.begun {
		t.timer = time.AfterFunc(most, func() { t.cut(os.ErrDeadlineExceeded) })
	}
}

// cut closes the connection, and says why, where no answer has begun.
func (t *turn) cut(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cause != os.ErrDeadlineExceeded || !t.begun {
		t.cause = cause
		t.conn.Close()
	}
}

// begins ends the wait for the answer, and returns why it has been cut short.
func (t *turn) begins() error {
	t.mayBody(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = true
	if t.timer != nil {
		t.timer.Stop()
	}
	return t.cause
}

// mayBody says whether an expected body may go, if nobody has said it before.
func (t *turn) mayBody(may bool) {
	select {
	case t.leave <- may: // never, where it is nil
	default:
	}
}

// Read implements io.Reader.
func (t *turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.end(err == io.EOF)
	}
	return n, err
}

// Close ends the connection, where the answer has not been read to its end.
func (t *turn) Close() error {
	t.end(false)
	return nil
}

// end gives the connection back for other requests if it can carry any.
func (t *turn) end(whole bool) {
	if t.over {
		return
	}
	t.over = true
	sent := whole && t.wasSent() // also where no other request follows: the visitor's may
	if t.stop() && sent && !t.last && t.conn.in.Buffered() == 0 {
		t.conn.pool.keep(t.conn)
	} else {
		t.conn.Close()
	}
	<-t.conn.pool.turns
}

func (t *turn) wasSent() bool {
	if t.sent != nil {
		select {
		case <-t.sent:
		case <-time.After(sentTimeout):
			return false
		}
	}
	return t.err == nil
}

// An outlet is where requests are written. A body that is sent as it is does not wait
// until it fills a buffer.
type outlet struct {
	w      io.Writer
	broken bool // a write has failed
}

// Write implements io.Writer.
func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.broken = o.broken || err != nil
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (o *outlet) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{o}, r) }

// An expectedBody is one that the service is to ask for.
type expectedBody struct {
	io.ReadCloser
	turn *turn
	goes bool // it may be read
}

// Read implements io.Reader.
func (b *expectedBody) Read(p []byte) (int, error) {
	if !b.goes {
		timer := time.NewTimer(expectTimeout)
		defer timer.Stop()
		select {
		case may := <-b.turn.leave:
			if !may {
				b.turn.unwanted.Store(true)
				return 0, errUnwanted
			}
		case <-timer.C:
		}
		b.goes = true
	}
	return b.ReadCloser.Read(p)
}
