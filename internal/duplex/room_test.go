//go:build unix

package duplex_test

import (
	"net"
	"sync"
	"testing"

	"keystay/internal/duplex"
)

// narrow is a Conn that takes only what it has room for; more would block for ever.
type narrow struct {
	duplex.Conn
	mu   sync.Mutex
	more sync.Cond
	room int
	most int // that was written at once
}

func (c *narrow) Room(wait bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.room == 0 {
		c.more.Wait()
	}
	return c.room
}

func (c *narrow) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.room -= len(p)
	c.most = max(c.most, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *narrow) widen(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room += n
	c.more.Broadcast()
}

// No more is read from a TCP connection than the other side has room for.
func TestReadsNoMoreThanThereIsRoomFor(t *testing.T) {
	far, near := tcpPair(t)
	farB, b := tcpPair(t)
	n := &narrow{Conn: b, room: 1000}
	n.more.L = &n.mu
	done := make(chan duplex.Result, 1)
	duplex.Start(near, n, duplex.Options{}, func(r duplex.Result) { done <- r })
	go func() {
		far.Write(make([]byte, 300_000))
		far.CloseWrite()
	}()
	receive(t, farB, 1000)
	for range 299 {
		n.widen(1000)
		receive(t, farB, 1000)
	}
	n.widen(1) // for the end
	farB.CloseWrite()
	if r := <-done; r.Err != nil || r.AtoB != 300_000 || n.most > 1000 {
		t.Errorf("%+v, %d bytes at once", r, n.most)
	}
}

// late is a Conn that is told what it may send later.
type late struct {
	duplex.Conn
	queued  []byte
	flushes int
	ends    int // bytes that were queued when the end came
}

func (c *late) Queue(p []byte) int {
	c.queued = append(c.queued, p...)
	return len(p)
}

func (c *late) Flush() {
	c.flushes++
	c.send()
}

func (c *late) send() {
	c.Conn.Write(c.queued)
	c.queued = nil
}

func (c *late) CloseWrite() error {
	c.ends = len(c.queued)
	c.send()
	return c.Conn.CloseWrite()
}

// Little that is read is sent when there is no more to read, and along with an end.
func TestLittleIsSentAlongWithAnEnd(t *testing.T) {
	far, near := tcpPair(t)
	farB, b := tcpPair(t)
	l := &late{Conn: b}
	done := make(chan duplex.Result, 1)
	duplex.Start(near, l, duplex.Options{}, func(r duplex.Result) { done <- r })
	far.Write(make([]byte, 100))
	receive(t, farB, 100)
	far.Write(make([]byte, 20_000)) // not so little
	receive(t, farB, 20_000)
	far.CloseWrite()
	seesEOF(t, farB, 0)
	farB.CloseWrite()
	if r := <-done; r.Err != nil || r.AtoB != 20_100 || l.flushes == 0 {
		t.Errorf("%+v, %d flushes", r, l.flushes)
	}

	far, near = tcpPair(t)
	farB, b = tcpPair(t)
	l = &late{Conn: b}
	far.Write(make([]byte, 24))
	far.CloseWrite()
	duplex.Start(near, l, duplex.Options{}, func(r duplex.Result) { done <- r })
	seesEOF(t, farB, 24)
	farB.CloseWrite()
	if r := <-done; r.Err != nil || l.ends != 24 || l.flushes != 0 {
		t.Errorf("%+v, %d bytes along with the end, %d flushes", r, l.ends, l.flushes)
	}
}

// leaving is a Conn that takes ten bytes at once, queues the first of them, and moves
// what is written to a lane before the next.
type leaving struct {
	duplex.Conn
	lane *net.TCPConn

	mu     sync.Mutex
	queued []byte
	moved  bool
}

func (c *leaving) Room(bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = c.moved || len(c.queued) > 0
	return 10
}

func (c *leaving) Queue(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved {
		return 0
	}
	c.queued = append(c.queued, p...)
	return len(p)
}

func (c *leaving) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn.Write(c.queued)
	c.queued = nil
}

func (c *leaving) Carrier() (read, write *net.TCPConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved {
		return nil, c.lane
	}
	return nil, nil
}

func (c *leaving) CloseWrite() error { c.Conn.CloseWrite(); return c.lane.CloseWrite() }

// What is queued when the connection moves is sent, and what comes next goes there.
func TestQueuedIsSentWhenTheConnectionMoves(t *testing.T) {
	far, near := tcpPair(t)
	farB, b := tcpPair(t)
	farLane, lane := tcpPair(t)
	far.Write(make([]byte, 20))
	done := make(chan duplex.Result, 1)
	duplex.Start(near, &leaving{Conn: b, lane: lane}, duplex.Options{}, func(r duplex.Result) { done <- r })
	receive(t, farLane, 10)
	receive(t, farB, 10)
	far.Write(make([]byte, 5))
	receive(t, farLane, 5)
	far.CloseWrite()
	seesEOF(t, farLane, 0)
	farB.CloseWrite()
	if r := <-done; r.Err != nil || r.AtoB != 25 {
		t.Errorf("%+v", r)
	}
}
