// Package duplex carries the bytes between two connections, both ways, and
// ends each as the other ended.
//
// An end of stream on one side becomes an end of stream on the other. Anything
// else, be it a reset, a lost session or a deadline, becomes a reset on both
// sides, so that a truncated transfer never looks like a complete one, not
// even if the process dies in the middle.
package duplex

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultProbe is how often [Copy] looks for a reset that no Read would show,
// where [Options] do not say.
const DefaultProbe = 2 * time.Second

// The errors of a connection that a limit has ended.
var (
	// ErrIdle means that no byte went either way for Options.Idle.
	ErrIdle = errors.New("duplex: idle for too long")
	// ErrLinger means that one direction had ended and no byte went the other
	// way for Options.Linger.
	ErrLinger = errors.New("duplex: idle for too long after one side had ended")
)

// A Conn is a connection with half-close: after CloseWrite the peer reads an
// end of stream, and reading here goes on. [*net.TCPConn], [*net.UnixConn] and
// [*crypto/tls.Conn] are such.
//
// A Conn may offer more, and Copy makes use of it:
//
//   - Reset(), with or without an error as its result, closes the connection
//     so that its peer sees a reset; see [Abort].
//   - Broken() error returns, without waiting and without taking anything, why
//     the connection can carry no more, or nil. It lets Copy notice a reset
//     while it is not reading from the connection.
//   - NetConn() net.Conn returns what a wrapper wraps.
//   - [io.WriterTo] and [io.ReaderFrom] are used if the connection lives in
//     this program. Those of a wrapper around a socket are not, since they may
//     be the socket's own and leave out what the wrapper's Read and Write do.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Options are the limits of a [Copy]. The zero value sets none.
type Options struct {
	// Idle is how long there may be no byte in either direction; 0 is no
	// limit. A write that waits for its peer shows progress only when it
	// returns, which is after at most 32 KiB, except on TCP under Linux, where
	// each packet counts, one that is sent again too.
	Idle time.Duration

	// Linger is how long, after one direction has ended, the other may have
	// no byte; 0 is no limit but Idle.
	Linger time.Duration

	// Probe is how often Copy looks whether a connection was reset from which
	// it is not reading, because it waits to write to the other or because
	// the end of stream has been read. 0 means DefaultProbe.
	Probe time.Duration
}

// A Result is what a [Copy] did.
type Result struct {
	AtoB, BtoA int64 // bytes read from one and written to the other

	// Err is nil if both directions came to an end of stream that was passed
	// on. Otherwise it is what went wrong first, and both sides were reset.
	Err error
}

// Copy carries bytes from a to b and from b to a until both directions have
// ended, and closes both. It needs neither before nor after any help with
// closing, and none of its goroutines remains.
//
// An end of stream on one is passed on by CloseWrite to the other; the other
// direction goes on. Any error ends both directions at once, by [Abort].
// Deadlines that the caller has set stay and are such errors.
//
// On TCP connections, also wrapped ones, Copy sets SO_LINGER to 0, so that the
// kernel resets them if this process dies, and back to the default before an
// orderly close. A caller for whom that matters sets it from the start.
func Copy(a, b Conn, o Options) Result {
	if o.Probe <= 0 {
		o.Probe = DefaultProbe
	}
	setLinger(a, 0)
	setLinger(b, 0)
	c := &copying{
		options: o,
		start:   time.Now(),
		ab:      direction{name: "a to b", src: a, dst: b},
		ba:      direction{name: "b to a", src: b, dst: a},
	}
	c.ab.copying, c.ba.copying = c, c
	c.watch()

	var wg sync.WaitGroup
	wg.Go(func() { c.run(&c.ab, &c.ba) })
	c.run(&c.ba, &c.ab)
	wg.Wait()
	c.end(nil)
	return Result{AtoB: c.ab.bytes.Load(), BtoA: c.ba.bytes.Load(), Err: c.err}
}

// A copying is one call of Copy.
type copying struct {
	options Options
	start   time.Time
	last    atomic.Int64 // when a byte last went, in nanoseconds after start
	ab, ba  direction

	once sync.Once // the end, orderly or not
	err  error     // written within once

	mu    sync.Mutex
	timer *time.Timer // runs check
	over  bool        // the timer is not to be set again
}

// run carries one direction to its end.
func (c *copying) run(d, back *direction) {
	err := d.pump()
	d.busy.Store(true) // nobody reads d.src any more
	// A write to a connection that was reset may swallow the error, and then
	// a Read says end of stream. Whoever writes sets ended only after the last
	// write went well, so if that is not set, the connection must still live.
	if err == nil && gone(d.src) && !back.ended.Load() {
		err = fmt.Errorf("read: %w", syscall.ECONNRESET)
	}
	if err == nil {
		c.touch()
		d.ended.Store(true)
		err = d.dst.CloseWrite()
	}
	if err != nil {
		c.end(fmt.Errorf("copy %s: %w", d.name, err))
		return
	}
	c.check() // from now on Linger counts
}

// end closes both connections, in order if err is nil. Only the first call
// does anything; others wait for it.
func (c *copying) end(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.over = true
		c.timer.Stop()
		c.mu.Unlock()

		c.err = err
		for _, conn := range []Conn{c.ab.src, c.ba.src} {
			if err != nil {
				Abort(conn)
				continue
			}
			setLinger(conn, -1)
			if e := conn.Close(); e != nil && c.err == nil {
				c.err = fmt.Errorf("close: %w", e)
			}
		}
	})
}

func (c *copying) touch() { c.last.Store(int64(time.Since(c.start))) }

// Abort closes c so that its peer sees a reset and not an end of stream: a TCP
// connection with SO_LINGER 0, anything that has a Reset method by that, and a
// wrapper that has NetConn through what it wraps. What has none of these, such
// as a unix socket, is only closed.
func Abort(c net.Conn) {
	switch c := c.(type) {
	case interface{ Reset() error }:
		c.Reset()
	case interface{ Reset() }:
		c.Reset()
	case lingerer:
		c.SetLinger(0)
	case wrapper:
		if inner := c.NetConn(); inner != nil {
			Abort(inner)
		}
	}
	c.Close()
}

// A lingerer is a *net.TCPConn, or a struct that embeds one.
type lingerer interface{ SetLinger(sec int) error }

// A wrapper is a connection made of another, such as a *tls.Conn.
type wrapper interface{ NetConn() net.Conn }

// setLinger sets SO_LINGER on the TCP connection that c is or wraps, if any.
// It can fail only on a connection that is closed already.
func setLinger(c net.Conn, sec int) {
	if inner, ok := innermost(c).(lingerer); ok {
		inner.SetLinger(sec)
	}
}

// innermost returns c without its wrappers.
func innermost(c net.Conn) net.Conn {
	for {
		w, ok := c.(wrapper)
		if !ok {
			return c
		}
		inner := w.NetConn()
		if inner == nil {
			return c
		}
		c = inner
	}
}
