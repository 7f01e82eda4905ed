package framing_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// An eager writer takes a random part of what it could write now.
type eager struct {
	mu    sync.Mutex
	got   bytes.Buffer
	now   int // bytes that came by WriteNow
	write int // and by Write
}

func (e *eager) Write(p []byte) (int, error) {
	if !e.mu.TryLock() {
		panic("Write while something else writes")
	}
	defer e.mu.Unlock()
	e.write += len(p)
	return e.got.Write(p)
}

func (e *eager) WriteNow(p []byte) (int, error) {
	if !e.mu.TryLock() {
		panic("WriteNow while something else writes")
	}
	defer e.mu.Unlock()
	n := len(p)
	if rand.IntN(4) == 0 {
		n = rand.IntN(n + 1)
	}
	e.now += n
	return e.got.Write(p[:n])
}

// What the link's reader writes itself, and what WriteTo does, comes in order
// and whole, and gives its credit back.
func TestWriteNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _ := slowLinks(t, time.Millisecond)
		v, d := open(t, relay, remote, "x")
		var sent []byte
		for len(sent) < 4<<20 {
			size := 1 + rand.IntN(200)
			if rand.IntN(10) == 0 {
				size = rand.IntN(64 << 10)
			}
			sent = append(sent, randomBytes(size)...)
		}
		go func() {
			for left := sent; len(left) > 0; {
				n := min(len(left), 1+rand.IntN(2000))
				if rand.IntN(20) == 0 {
					n = min(len(left), 40<<10)
				}
				d.Write(left[:n])
				left = left[n:]
			}
			d.CloseWrite()
		}()
		var e eager
		total, err := v.WriteTo(&e)
		if err != nil || int(total) != len(sent) {
			t.Errorf("WriteTo: %d of %d bytes, %v", total, len(sent), err)
		}
		if !bytes.Equal(e.got.Bytes(), sent) {
			t.Error("what came is not what was sent")
		}
		if e.now == 0 || e.write == 0 {
			t.Errorf("%d bytes by WriteNow and %d by Write, want some of both", e.now, e.write)
		}
	})
}

// A small piece is written by WriteNow; a large one is left to WriteTo.
func TestWriteNowIsForSmallPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _ := slowLinks(t, time.Millisecond)
		v, d := open(t, relay, remote, "x")
		var e whole
		go v.WriteTo(&e)
		synctest.Wait()
		d.Write(make([]byte, framing.MaxNow))
		time.Sleep(time.Second)
		synctest.Wait()
		d.Write(make([]byte, framing.MaxNow+1))
		time.Sleep(time.Second)
		synctest.Wait()
		if e.now != framing.MaxNow || e.write != framing.MaxNow+1 {
			t.Errorf("%d bytes by WriteNow, %d by Write", e.now, e.write)
		}
		d.Reset()
	})
}

// A whole writer takes all.
type whole struct{ now, write int }

func (w *whole) Write(p []byte) (int, error)    { w.write += len(p); return len(p), nil }
func (w *whole) WriteNow(p []byte) (int, error) { w.now += len(p); return len(p), nil }
