//go:build unix

package duplex_test

import (
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
