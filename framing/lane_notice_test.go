package framing_test

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// noticed counts what a remote is told of its streams.
type noticed struct {
	mu     sync.Mutex
	bulk   []int // how many bytes had come, in KiB, besides the first
	chatty int
}

func (n *noticed) handler(got func() int) framing.Handler {
	return framing.Handler{
		BulkAfter: 64 << 10,
		Bulk: func(*framing.Stream) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.bulk = append(n.bulk, got()>>10)
		},
		Chatty: func(*framing.Stream) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.chatty++
		},
	}
}

// A remote is told of a stream that is bulk, again when it has carried four
// times as much, and of one with eight answers.
func TestNoticesOfStreams(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		var n noticed
		var sent atomic.Int64
		r := newBulkRig(t, server, client, n.handler(func() int { return int(sent.Load()) }))
		v, d := open(t, r.relay, r.remote, "x")
		pass := func(from, to *framing.Stream, size int) {
			t.Helper()
			from.Write(make([]byte, size))
			if _, err := io.CopyN(io.Discard, to, int64(size)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until the remote has been told
		}
		io.CopyN(io.Discard, d, 1)
		for range 300 {
			sent.Add(1 << 10)
			pass(v, d, 1<<10)
		}
		n.mu.Lock()
		if !slices.Equal(n.bulk, []int{64, 257}) || n.chatty != 0 {
			t.Errorf("told of bulk after %v KiB, and %d times of answers", n.bulk, n.chatty)
		}
		n.mu.Unlock()
		for range 17 {
			pass(d, v, 1)
			pass(d, v, 1)
			pass(v, d, 1)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.chatty != 2 {
			t.Errorf("told %d times of a stream that was answered 17 times", n.chatty)
		}
	})
}

// A stream that has moved is told of no more.
func TestNoNoticesOfMovedStreams(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		var n noticed
		r := newBulkRig(t, server, client, n.handler(func() int { return 0 }))
		v, d := open(t, r.relay, r.remote, "x")
		r.move(t, d)
		for range 20 {
			d.Write(make([]byte, 8<<10))
			io.CopyN(io.Discard, v, 8<<10)
			v.Write([]byte("x"))
			io.CopyN(io.Discard, d, 1)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.bulk) > 0 || n.chatty > 0 {
			t.Errorf("told %d times of bulk, %d times of answers", len(n.bulk), n.chatty)
		}
	})
}
