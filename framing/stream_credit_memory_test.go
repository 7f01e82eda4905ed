package framing_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/memconn"
)

// memoryLinks are links whose relay takes memory from a share of a budget.
func memoryLinks(t *testing.T, limit int64) (relay, remote *framing.Link, b *budget.Budget, share *budget.Share) {
	t.Helper()
	b = budget.New(limit)
	share = b.Share()
	x, y := memconn.Pipe(0)
	relay, remote = links(t, x, y, framing.Handler{Memory: share}, framing.Handler{})
	return relay, remote, b, share
}

// A link opens streams as far as its share goes, and no further; those that are open
// go on, and what ends makes room.
func TestStreamsTakeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, b, share := memoryLinks(t, 4<<20)
		acceptAll(remote)
		var streams []*framing.Stream
		for {
			s, err := relay.Open(header, []byte("x"))
			if err != nil {
				if !errors.Is(err, framing.ErrNoMemory) {
					t.Fatal(err)
				}
				break
			}
			streams = append(streams, s)
		}
		if n := len(streams) * framing.StreamMemory; int64(n) > share.Used() || b.Peak() > b.Limit() || len(streams) < 30 {
			t.Errorf("%d streams; %d of %d are taken", len(streams), share.Used(), b.Limit())
		}
		synctest.Wait()
		streams[0].Reset()
		synctest.Wait()
		if _, err := relay.Open(header, []byte("x")); err != nil {
			t.Errorf("in the place of one that has ended: %v", err)
		}
		up(t, relay, remote)
		relay.Close()
		synctest.Wait()
		if n := b.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

// Where no memory is left a stream still carries all that it is given, both ways, in
// small pieces.
func TestStreamGoesOnWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, b, _ := memoryLinks(t, 4<<20)
		v, d := open(t, relay, remote, "x")
		other := b.Share()
		for other.Take(1, 1<<20) > 0 {
		}
		for rest := b.Limit() - b.Used(); rest > 0; rest = b.Limit() - b.Used() {
			b.Share().Take(1, int(rest)) // all there is
		}
		sent := randomBytes(3 << 20)
		for _, way := range [][2]*framing.Stream{{v, d}, {d, v}} {
			go func() {
				way[0].Write(sent)
				way[0].CloseWrite()
			}()
			if way[1] == d {
				io.ReadFull(d, make([]byte, 1)) // "x"
			}
			got, err := io.ReadAll(way[1])
			if err != nil || string(got) != string(sent) {
				t.Errorf("%d of %d bytes arrived, %v", len(got), len(sent), err)
			}
		}
		if b.Peak() > b.Limit() {
			t.Errorf("peak %d of %d", b.Peak(), b.Limit())
		}
		relay.Close()
	})
}

// What waits to be written on a link whose other side takes nothing is taken from
// its share as well.
func TestQueuedBytesTakeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, b, share := memoryLinks(t, 64<<20)
		var streams []*framing.Stream
		for range 40 {
			v, d := open(t, relay, remote, "x")
			go io.Copy(io.Discard, d)
			streams = append(streams, v)
		}
		for range 30 { // their windows grow
			for _, v := range streams {
				v.Write(make([]byte, 20_000))
			}
			synctest.Wait()
		}
		before := share.Used()
		framing.HoldLink(relay)
		for _, v := range streams {
			go v.Write(make([]byte, 1<<20))
		}
		synctest.Wait()
		queued := 0
		for _, v := range streams {
			queued += framing.Queued(v)
		}
		if got := framing.PoolUsed(relay); queued < 40*3000 || queued > got+40*4096 || b.Peak() > b.Limit() {
			t.Errorf("%d bytes are queued, %d of the pool are used; %d of %d are taken, %d before", queued, got, share.Used(), b.Limit(), before)
		}
		framing.ReleaseLink(relay)
		relay.Close()
		remote.Close()
		synctest.Wait()
		if n := b.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

// Room tells what Write takes without waiting, and waits for credit if asked to.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "")
		if n := v.Room(false); n != framing.InitialCredit {
			t.Errorf("room for %d bytes at first", n)
		}
		v.Write(make([]byte, framing.InitialCredit))
		if n := v.Room(false); n != 0 {
			t.Errorf("room for %d bytes without credit", n)
		}
		got := make(chan int, 1)
		go func() { got <- v.Room(true) }()
		synctest.Wait()
		if len(got) > 0 {
			t.Error("it did not wait")
		}
		io.ReadFull(d, make([]byte, framing.InitialCredit))
		if n := <-got; n <= 0 {
			t.Errorf("room for %d bytes", n)
		}
		for n := v.Room(false); n > 0; n = v.Room(false) {
			v.Write(make([]byte, n)) // it does not wait, or the bubble is stuck
			synctest.Wait()
		}
		go func() { got <- v.Room(true) }()
		synctest.Wait()
		v.Reset()
		if n := <-got; n <= 0 {
			t.Errorf("room for %d bytes on a stream that was reset: Write would wait for nothing", n)
		}
	})
}

// A write that has to wait for credit is counted once, however long it waits, and one
// that has not is not.
func TestWritesThatWaitForCreditAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalls atomic.Int64
		x, y := memconn.Pipe(0)
		relay, remote := links(t, x, y, framing.Handler{Stalls: &stalls}, framing.Handler{})
		v, d := open(t, relay, remote, "")
		v.Write(make([]byte, framing.InitialCredit))
		if n := stalls.Load(); n != 0 {
			t.Errorf("%d at first", n)
		}
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			v.Write(make([]byte, 1))
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		if n := stalls.Load(); n != 1 {
			t.Errorf("%d while a write waits", n)
		}
		io.ReadFull(d, make([]byte, framing.InitialCredit+1))
		<-wrote
		if n := stalls.Load(); n != 1 {
			t.Errorf("%d in the end", n)
		}
		relay.Close()
		remote.Close()
	})
}

// Visitors whose bytes nobody reads make a remote hold no more than the pool that its
// links were given, beyond the little of each.
func TestPoolOfALinkIsBounded(t *testing.T) {
	much := make([]byte, 4<<20)
	for _, c := range []struct{ pool, most int }{{0, framing.MaxPool}, {framing.MinPool, framing.MinPool}} {
		synctest.Test(t, func(t *testing.T) {
			x, y := memconn.Pipe(0)
			relay, remote := links(t, x, y, framing.Handler{}, framing.Handler{Pool: c.pool})
			for range 64 {
				v, d := open(t, relay, remote, "x")
				go v.Write(much)
				io.CopyN(io.Discard, d, 1<<20) // so that it is trusted with more
			}
			synctest.Wait()
			if used := framing.PoolUsed(remote); used > c.most || used < c.most/2 {
				t.Errorf("with a pool of %d: %d bytes are granted", c.pool, used)
			}
			relay.Close()
			synctest.Wait()
		})
	}
}
