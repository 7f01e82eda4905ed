package framing

import (
	"io"
	"math"
	"net"
	"time"

	"keystay/internal/budget"
	"keystay/internal/duplex"
)

// ErrNotBare is the error of a TLS connection that cannot be left.
var ErrNotBare = errNotBare

// PoolUsed is how much of a link's pool is granted.
func PoolUsed(l *Link) int {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.pool.used
}

// Stop makes a link look as if its process, or the machine, had just been
// stopped for d.
func Stop(l *Link, d time.Duration) {
	l.pulse.lastRead.Add(-int64(d))
	l.pulse.mu.Lock()
	defer l.pulse.mu.Unlock()
	l.pulse.due -= d
	l.pulse.pingDue -= d
	l.pulse.timer.Reset(0)
}

// WithWindow is h for a link whose connection says how many bytes it sends at once,
// and whether it keeps that.
func WithWindow(h Handler, f func() (n int, lasts bool)) Handler {
	h.window = func(net.Conn) (int, bool) { return f() }
	return h
}

// MaxWindow is the most credit that a relay grants to a stream at once.
const MaxWindow = maxWindow - InitialCredit

// MaxNow is the largest piece that the link's reader writes itself.
const MaxNow = maxNow

// CanBuffer says whether a BufferedConn reads ahead on this system.
const CanBuffer = canTake

// Holds reports whether c holds a buffer.
func Holds(c *BufferedConn) bool { return c.buf != nil || c.array != nil }

// Hold and Flush are what a link uses of a BufferedConn.
func Hold(c *BufferedConn)                                              { c.cork() }
func Flush(c *BufferedConn, limit time.Duration) (done bool, err error) { return c.uncork(limit) }

// HoldLink lets nobody write on a link.
func HoldLink(l *Link) { l.sender.become(true) }

// GatherLink gathers what waits on a link that is held, and ReleaseLink writes
// it and lets others write again.
func GatherLink(l *Link) { l.sender.gather() }

func ReleaseLink(l *Link) {
	l.sender.finish(0)
	l.sender.end()
	l.sender.pump()
}

// QueuePong queues a record that somebody else writes.
func QueuePong(l *Link) {
	l.sender.queue(appendRecord(nil, recPong, make([]byte, 8)))
}

// PrepareLane makes a connection ready to be a bare lane.
func PrepareLane(c duplex.Conn) { prepareLane(c) }

// UseIDs leaves ids for n more streams.
func UseIDs(l *Link, n uint32) {
	l.streams.mu.Lock()
	defer l.streams.mu.Unlock()
	l.streams.lastID = math.MaxUint32 - 2*n
}

// Queued is how many bytes wait on a stream to be written.
func Queued(s *Stream) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out.frames)
}

// Illegal returns which rule of the states of a stream does not hold, or nothing.
func Illegal(s *Stream) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch over := s.cause != nil || s.endedLocked(); {
	case s.recv == halfMovedEnded:
		return "what comes was ended on the lane by this side"
	case (s.recv.moved() || s.send.moved()) && s.lane.state == laneNone:
		return "a half has moved, and there is no lane"
	case s.send.moved() && s.lane.conn == nil && s.cause == nil:
		return "what goes has moved to no connection"
	case s.wire != wireOpen && !over:
		return "FIN before the halves are over"
	case s.wire != wireOpen && s.out.rst != rstNone:
		return "FIN overtakes RESET"
	case s.out.rst != rstNone && s.cause == nil && !s.closed:
		return "RESET of a stream that works"
	case s.wire == wireRemoved && s.in.buf.len > 0 && !s.closed:
		return "removed with data that is not read"
	}
	return ""
}

// SetMemory makes a link without streams take memory from a share.
func SetMemory(l *Link, s *budget.Share) { l.pool.memory = s }

// KeepAfter is DetourBytes for one detour.
func KeepAfter(d *Detour, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most = n
}

// ReadTaken reads TAKEN, and Taken is one.
func ReadTaken(r io.Reader) (offset int64, ended bool, err error) { return readOffset(r, recTaken) }
func Taken(offset int64, ended bool) []byte                       { return offsetRecord(recTaken, offset, ended) }

// MaxUnanswered is how many ORDERs for a name may be without an answer.
const MaxUnanswered = maxUnanswered
