package duplex_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/duplex"
)

// turns is a Pacer whose turns have a size, with a wait before each second one.
type turns struct {
	most int
	wait time.Duration

	asked atomic.Int64
	taken atomic.Int64 // reserved and not returned
}

func (p *turns) Reserve(n int) (int, time.Duration) {
	n = min(n, p.most)
	p.taken.Add(int64(n))
	if p.asked.Add(1)%2 == 0 {
		return n, p.wait
	}
	return n, 0
}

func (p *turns) Return(n int) { p.taken.Add(-int64(n)) }

// Whatever the way, what is paced arrives whole, and just that was reserved.
func TestPacedBytesAreReserved(t *testing.T) {
	for path, way := range paths {
		t.Run(path, func(t *testing.T) {
			ab, ba := &turns{most: 50_000, wait: time.Microsecond}, &turns{most: 70_000, wait: time.Microsecond}
			r := newRig(t, way, duplex.Options{PaceAB: ab, PaceBA: ba})
			var wg sync.WaitGroup
			var aToB, bToA int64
			wg.Go(func() { aToB = talk(t, r.a, r.b); r.a.CloseWrite() })
			bToA = talk(t, r.b, r.a)
			wg.Wait()
			seesEOF(t, r.b, 0)
			r.b.CloseWrite()
			seesEOF(t, r.a, 0)
			r.done(t, aToB, bToA, true)
			if ab.taken.Load() != aToB || ba.taken.Load() != bToA {
				t.Errorf("%d and %d bytes are reserved, %d and %d went", ab.taken.Load(), ba.taken.Load(), aToB, bToA)
			}
		})
	}
}

// A byte that waits for its turn makes no connection idle, and the wait ends with
// the connections.
func TestWaitForTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &turns{most: 1, wait: time.Hour}
		a, b, wait := inMemory(duplex.Options{Idle: time.Minute, PaceAB: p}, nil)
		start := time.Now()
		send(t, a, 3)
		receive(t, b, 3) // the second of which has waited
		if took := time.Since(start); took != time.Hour {
			t.Errorf("three bytes took %v", took)
		}
		send(t, a, 1)
		b.Reset()
		res, took := wait()
		if !errors.Is(res.Err, syscall.ECONNRESET) || took > time.Hour+2*duplex.DefaultProbe {
			t.Errorf("ended with %v after %v", res.Err, took)
		}
		wasReset(t, a)
	})
}

// spent is a Pacer that lets so many bytes go.
type spent struct{ left atomic.Int64 }

func (p *spent) Reserve(n int) (int, time.Duration) {
	n = min(n, int(p.left.Load()))
	p.left.Add(-int64(n))
	return n, 0
}

func (p *spent) Return(n int) { p.left.Add(int64(n)) }

// Where no more bytes may go, both sides see a reset and not an end.
func TestSpentIsAResetAndNoEnd(t *testing.T) {
	for path, way := range paths {
		t.Run(path, func(t *testing.T) {
			p := new(spent)
			p.left.Store(1 << 20)
			r := newRig(t, way, duplex.Options{PaceAB: p})
			go r.a.Write(make([]byte, 2<<20))
			seesReset(t, r.b)
			res := r.wait(t)
			if !errors.Is(res.Err, duplex.ErrSpent) || res.AtoB != 1<<20 {
				t.Errorf("got %+v", res)
			}
			seesReset(t, r.a)
		})
	}
}

// talk sends bursts and, between them, single messages from one far end to the
// other, and compares what arrives.
func talk(t *testing.T, from, to *net.TCPConn) (total int64) {
	random := rand.NewChaCha8([32]byte{1})
	sent, got := sha256.New(), sha256.New()
	pass := func(size int64) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.CopyN(io.MultiWriter(from, sent), random, size); err != nil {
				t.Errorf("send: %v", err)
			}
		})
		if _, err := io.CopyN(got, to, size); err != nil {
			t.Errorf("receive: %v", err)
		}
		wg.Wait()
		total += size
	}
	for range 3 {
		pass(2<<20 + 7)
		for range 20 {
			pass(1000)
		}
	}
	same(t, sent, got)
	return total
}
