package duplex_test

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keystay/internal/duplex"
)

// some is more than the buffers of duplex and less than those of a socket.
const some = 100 << 10

// quick is a Probe for tests that wait for one.
const quick = 10 * time.Millisecond

// eachWay runs a test for both sides and all paths. In the test, x is the
// side that acts and y the other.
func eachWay(t *testing.T, test func(t *testing.T, x, y *net.TCPConn, done func(xToY, yToX int64, orderly bool))) {
	for path, way := range paths {
		t.Run("a/"+path, func(t *testing.T) {
			r := newRig(t, way, duplex.Options{Probe: quick})
			test(t, r.a, r.b, func(xToY, yToX int64, orderly bool) { t.Helper(); r.done(t, xToY, yToX, orderly) })
		})
		t.Run("b/"+path, func(t *testing.T) {
			r := newRig(t, way, duplex.Options{Probe: quick})
			test(t, r.b, r.a, func(xToY, yToX int64, orderly bool) { t.Helper(); r.done(t, yToX, xToY, orderly) })
		})
	}
}

func TestCloseIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, x, some)
		x.Close()
		seesEOF(t, y, some)
		y.Close()
		done(some, 0, true)
	})
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, x, some)
		x.CloseWrite()
		seesEOF(t, y, some)
		send(t, y, 2*some)
		y.CloseWrite()
		seesEOF(t, x, 2*some)
		done(some, 2*some, true)
	})
}

func TestBothHalfCloseAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, x, some)
		send(t, y, some)
		x.CloseWrite()
		y.CloseWrite()
		seesEOF(t, x, some)
		seesEOF(t, y, some)
		done(some, some, true)
	})
}

func TestResetIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, x, some)
		receive(t, y, some)
		reset(x)
		seesReset(t, y)
		done(some, 0, false)
	})
}

func TestCloseWithUnreadBytesIsAReset(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, y, some)
		receive(t, x, 1) // the rest stays unread
		send(t, x, 1)
		receive(t, y, 1)
		x.Close()
		seesReset(t, y)
		done(1, -1, false)
	})
}

func TestResetOfTheReceiver(t *testing.T) {
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		receiving := make(chan error)
		go func() {
			for {
				if _, err := y.Write(make([]byte, some)); err != nil {
					receiving <- err
					return
				}
			}
		}()
		receive(t, x, 10*some)
		reset(x)
		if err := <-receiving; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the sender's write: %v, want a reset", err)
		}
		done(0, -1, false)
	})
}

// The one who sent a request and its end goes away while the answer is still
// being thought about: nobody reads from it or writes to it.
func TestResetAfterHalfClose(t *testing.T) {
	needsProbe(t)
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		send(t, x, some)
		x.CloseWrite()
		seesEOF(t, y, some)
		reset(x)
		done(some, 0, false)
		if _, err := y.Write(make([]byte, 1)); err == nil {
			seesReset(t, y)
		}
	})
}

// The sender goes away while the receiver does not read, so that Copy waits in
// a write to the receiver.
func TestResetWhileTheOtherDoesNotRead(t *testing.T) {
	needsProbe(t)
	eachWay(t, func(t *testing.T, x, y *net.TCPConn, done func(int64, int64, bool)) {
		fill(x)
		reset(x)
		done(-1, 0, false) // before y has read anything
		seesReset(t, y)
	})
}

// fill sends on c until all buffers on the way are full.
func fill(c *net.TCPConn) {
	for sent := 1; sent > 0; {
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		sent, _ = c.Write(make([]byte, some))
	}
}

func needsProbe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a pending reset cannot be seen without reading, on " + runtime.GOOS)
	}
}

// marked tells whether an end of stream was passed on.
type marked struct {
	plain
	ended *atomic.Bool
}

func (m marked) CloseWrite() error {
	m.ended.Store(true)
	return m.plain.CloseWrite()
}

// markedCarried is the same of one that a TCP connection carries.
type markedCarried struct {
	carried
	ended *atomic.Bool
}

func (m markedCarried) CloseWrite() error {
	m.ended.Store(true)
	return m.carried.CloseWrite()
}

// A write that meets a reset takes its error away, and the Read at the same
// time says end of stream. That must not reach the other side.
func TestTruncatedAnswerNeverLooksComplete(t *testing.T) {
	for i := range 200 {
		var ended atomic.Bool
		mark := func(c *net.TCPConn) duplex.Conn {
			if i%2 == 0 {
				return marked{plain{c}, &ended}
			}
			return markedCarried{carried{c}, &ended}
		}
		r := newRig(t, pathway{a: mark, b: mark}, duplex.Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := r.a.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		})
		send(t, r.b, 1000)
		receive(t, r.b, 10000)
		reset(r.b)
		wg.Wait()
		if res := r.wait(t); res.Err == nil || ended.Load() {
			t.Fatalf("a reset became an end of stream: %+v", res)
		}
	}
}

// Bytes that were taken from one side before its end are still delivered to a
// slow reader, although SO_LINGER was 0 on the way.
func TestSlowReaderGetsAllAfterCopyReturned(t *testing.T) {
	for path, way := range paths {
		t.Run(path, func(t *testing.T) {
			r := newRig(t, way, duplex.Options{})
			r.b.CloseWrite()
			send(t, r.a, some)
			r.a.CloseWrite()
			r.done(t, some, 0, true)
			seesEOF(t, r.b, some)
			seesEOF(t, r.a, 0)
		})
	}
}
