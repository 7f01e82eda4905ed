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

	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/internal/stack"
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
	// ErrSpent means that the Pacer of a direction lets no more bytes go.
	ErrSpent = errors.New("duplex: no more bytes may go")
)

// A Conn is a connection with half-close: after CloseWrite the peer reads an
// end of stream, and reading here goes on. [*net.TCPConn], [*net.UnixConn] and
// [*crypto/tls.Conn] are such.
//
// A Conn may offer more, and Copy makes use of it:
//
//   - Reset(), with or without an error as its result, closes the connection
//     so that its peer sees a reset; see [socket.Abort].
//   - Broken() error returns, without waiting and without taking anything, why
//     the connection can carry no more, or nil. It lets Copy notice a reset
//     while it is not reading from the connection.
//   - NetConn() net.Conn returns what a wrapper wraps.
//   - Carrier() (read, write *net.TCPConn) returns the TCP connections that
//     carry its two directions from now on, nil for one that it carries
//     itself; see below.
//   - Room(wait bool) int returns how many bytes a Write takes without waiting,
//     and with wait waits until there are some, or a Write would fail. No more
//     than that is then read from a TCP connection for it, so that no buffer is
//     held for a peer that takes nothing.
//   - Queue(p []byte) int takes what it can of p without waiting. Flush(), which
//     does not wait either, sends it, and so does CloseWrite. A few bytes from a TCP
//     connection are queued there, and sent once there is no more to read.
//   - [io.WriterTo] and [io.ReaderFrom] are used if the connection lives in
//     this program. Those of a wrapper around a socket are not, since they may
//     be the socket's own and leave out what the wrapper's Read and Write do.
//
// # Carriers
//
// A Conn with Carrier may move in mid-flow to a TCP connection, mostly one for
// both directions, each direction by itself, once and for good. Copy then uses
// that connection without the Conn's help.
//
//   - Such a Conn has WriteTo. It returns nil when the direction has ended, or
//     has moved and all that came before the move is written. Copy then asks
//     for the carrier: if there is none to read from, that was the end.
//   - Copy asks for the carrier to write to before each Write and after it,
//     and writes no more to the Conn itself once there is one. A Write that is
//     under way during the move, or comes after it, goes on as it has to.
//     ReadFrom is not used.
//   - Nobody else reads from a carrier or writes to it. The Conn's CloseWrite,
//     Close and Reset do to its carriers what they have to, and its Broken is
//     about what is not a carrier's.
//   - Carrier may be called at any time, from several goroutines, and does not
//     wait for the network. It may wait for a goroutine that closes a carrier.
//   - Copy sets SO_LINGER of a carrier as of any TCP connection.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Options are the limits of a [Copy]. The zero value sets none.
type Options struct {
	// Idle is how long there may be no byte in either direction; 0 is no
	// limit. A write that waits for its peer shows progress only when it
	// returns, which is after at most 64 KiB, except on TCP: there each part
	// that the kernel takes counts, and under Linux each packet, one that is
	// sent again too.
	Idle time.Duration

	// Linger is how long, after one side has ended, no byte may go either way;
	// 0 is no limit but Idle. A side counts as ended also while its end lies
	// behind bytes that the other side does not take, where the system can tell.
	Linger time.Duration

	// Unanswered takes the place of Linger where a has ended and b has not sent
	// one byte yet; 0 is Linger.
	Unanswered time.Duration

	// Probe is how often Copy looks whether a connection was reset from which
	// it is not reading, because it waits to write to the other or because
	// the end of stream has been read. While both directions wait for bytes
	// nobody looks, since a Read would see it. 0 means DefaultProbe.
	Probe time.Duration

	// Panics catches the panics of the copying's goroutines, each of which ends
	// both connections by a reset; with nil they end the process.
	Panics *panics.Log

	// PaceAB and PaceBA say when bytes may go from a to b, and from b to a; nil is
	// at once. See [Pacer].
	PaceAB, PaceBA Pacer

	// Rest is where a direction of Start waits that reads from a, a TCP connection,
	// once no byte has gone either way for as long as that says: without a goroutine, whose stack is
	// most of what an idle pair of connections takes. Read deadlines of a that the
	// caller has set are lost then. Whoever closes a, beside Start, calls [Rest.Wake]
	// after that. Nil is that it waits by itself.
	Rest *Rest

	// Moved is called when a direction goes on with a carrier, perhaps more
	// than once. It must not block; nil is nothing.
	Moved func()
}

// A Result is what a [Copy] did.
type Result struct {
	AtoB, BtoA int64 // bytes read from one and written to the other

	// MovedAtoB and MovedBtoA are how many of them went after their direction had
	// moved to a carrier, and Moved says that one has.
	MovedAtoB, MovedBtoA int64
	Moved                bool

	// First is after how long the first byte from b was written to a; 0 is that none
	// was.
	First time.Duration

	// Spliced is how many of them the kernel has moved: they were never in the
	// memory of this program.
	Spliced int64

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
// orderly close. A caller to which that matters sets it from the start.
//
// A direction from a TCP connection holds no buffer while it waits, and
// between two of them, under Linux, the kernel moves what comes in bulk.
func Copy(a, b Conn, o Options) Result {
	done := make(chan Result, 1)
	c := newCopying(a, b, o, func(r Result) { done <- r })
	c.ab.renews = true
	go c.run(&c.ab, &c.ba)
	c.run(&c.ba, &c.ab)
	return <-done
}

// Start is Copy for a caller that has nothing to wait for: it returns at once,
// and done is called at the end, on a goroutine of the copying's own. So an
// idle pair of TCP connections costs two goroutines with the least stack there
// is, however deep the caller's.
//
// What was done until now the function tells that it returns, at any time and also
// after the end, without Spliced and Err. No count of it ever gets smaller.
func Start(a, b Conn, o Options, done func(Result)) (until func() Result) {
	c := newCopying(a, b, o, done)
	c.ab.renews, c.ba.renews = true, true
	_, tcp := a.(*net.TCPConn)
	c.ab.rests = tcp && o.Rest != nil
	go c.begin(&c.ab, &c.ba)
	go c.begin(&c.ba, &c.ab)
	return c.until
}

// until is what was done until now.
func (c *copying) until() Result {
	r := Result{First: time.Duration(c.first.Load())}
	var ab, ba bool
	r.AtoB, r.MovedAtoB, ab = c.ab.count()
	r.BtoA, r.MovedBtoA, ba = c.ba.count()
	r.Moved = ab || ba
	return r
}

// begin is run for a direction that has not begun. To write to a stream of a link takes
// a deeper stack than a TCP connection does.
func (c *copying) begin(d, back *direction) {
	if _, ok := d.dst.(queuer); ok {
		stack.Grow()
	}
	c.run(d, back)
}

// A copying is one call of Copy or Start.
type copying struct {
	options Options
	done    func(Result)
	running atomic.Int32 // directions that have not ended
	start   time.Time
	last    atomic.Int64 // when a byte last went, in nanoseconds after start
	first   atomic.Int64 // when the first went from b to a, likewise; 0 before
	ab, ba  direction

	once sync.Once // the end, orderly or not
	err  error     // written within once

	watching atomic.Bool // the timer runs within Probe; written with mu locked
	mu       sync.Mutex
	timer    *time.Timer   // runs check; nil before it is needed
	over     bool          // the timer is not to be set again
	ending   chan struct{} // closed with over set; nil before it is needed

	pausing atomic.Int32 // directions that wait for their Pacer
}

func newCopying(a, b Conn, o Options, done func(Result)) *copying {
	if o.Probe <= 0 {
		o.Probe = DefaultProbe
	}
	setLinger(a, 0)
	setLinger(b, 0)
	c := &copying{
		options: o,
		done:    done,
		start:   time.Now(),
		ab:      direction{name: "a to b", src: a, dst: b, pacer: o.PaceAB},
		ba:      direction{name: "b to a", src: b, dst: a, pacer: o.PaceBA},
	}
	c.ab.copying, c.ba.copying = c, c
	c.running.Store(2)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scheduleLocked(0)
	return c
}

// run carries one direction to its end. Where it has needed much stack and is
// about to wait, it goes on in a new goroutine: a stack that has grown to 4 KiB
// is never made smaller.
func (c *copying) run(d, back *direction) {
	defer c.options.Panics.Catch("copying a visitor's bytes", func() {
		c.end(errPanicked)
		c.finished()
	})
	err := d.pump()
	switch err {
	case errRenew:
		go c.run(d, back)
		return
	case errRests:
		return
	}
	c.ran(d, back, err)
	c.finished()
}

// errPanicked is the error of a copying in which this program has made a mistake.
var errPanicked = errors.New("duplex: a mistake in this program")

// finished is called when a direction has ended.
func (c *copying) finished() {
	if c.running.Add(-1) == 0 {
		c.end(nil)
		r := c.until()
		r.Spliced, r.Err = c.ab.spliced+c.ba.spliced, c.err
		c.done(r)
	}
}

// errRenew is what pump returns to go on in a new goroutine.
var errRenew = errors.New("duplex: goes on in a new goroutine")

// isOver reports whether the copying is about to end, or has.
func (c *copying) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// ran is called when d has ended, with its error.
func (c *copying) ran(d, back *direction, err error) {
	if d.portion.bytes > 0 {
		d.moves(0)
	}
	d.busy.Store(true) // nobody reads d.src any more
	// A write to a connection that was reset may swallow the error, and then a Read
	// says end of stream. The other direction sets ended after its last write has
	// succeeded. So while ended is not set, a connection that is gone was reset.
	if err == nil && !back.ended.Load() && socket.Gone(d.from()) && !back.ended.Load() {
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.scheduleLocked(c.untouched()) // from now on Linger counts
	}
}

// end closes both connections, in order if err is nil. Only the first call
// does anything; others wait for it.
func (c *copying) end(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.over = true
		if c.timer != nil {
			c.timer.Stop()
		}
		if c.ending != nil {
			close(c.ending)
		}
		c.mu.Unlock()

		c.err = err
		for _, conn := range []Conn{c.ab.src, c.ba.src} {
			if err != nil {
				abort(conn)
				continue
			}
			setLinger(conn, -1)
			if e := conn.Close(); e != nil && c.err == nil {
				c.err = fmt.Errorf("close: %w", e)
			}
		}
		if c.options.Rest.leave(&c.ab) {
			go c.ab.resume() // to find that it is over
		}
	})
}

// abort is socket.Abort, for a connection whose SO_LINGER is 0 already.
func abort(c Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.Close()
		return
	}
	socket.Abort(c)
}

func (c *copying) touch() { c.last.Store(int64(time.Since(c.start))) }
