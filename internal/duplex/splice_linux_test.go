package duplex_test

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"keystay/internal/duplex"
)

func TestBulkAndSmallPieces(t *testing.T) {
	for path, way := range paths {
		for _, pipes := range []bool{true, false} {
			name := path
			if !pipes {
				name += "/no pipes"
			}
			t.Run(name, func(t *testing.T) {
				if !pipes {
					defer duplex.NoPipes()()
				}
				r := newRig(t, way, duplex.Options{})
				var wg sync.WaitGroup
				var aToB, bToA int64
				wg.Go(func() { aToB = talk(t, r.a, r.b); r.a.CloseWrite() })
				bToA = talk(t, r.b, r.a)
				wg.Wait()
				seesEOF(t, r.b, 0)
				r.b.CloseWrite()
				seesEOF(t, r.a, 0)
				r.done(t, aToB, bToA, true)
			})
		}
	}
}

func TestBulkIsSpliced(t *testing.T) {
	for _, path := range []string{"splice", "moved"} {
		noPipesOpen(t)
		r := newRig(t, paths[path], duplex.Options{Probe: quick})
		for sent := 0; duplex.PipesOpen() == 0; sent++ {
			if sent == 1000 {
				t.Fatalf("%s: no pipe is used", path)
			}
			go r.a.Write(make([]byte, 1<<20))
			receive(t, r.b, 1<<20)
		}
		fill(r.a)
		reset(r.b) // with bytes in a pipe, mostly
		r.done(t, -1, 0, false)
		seesReset(t, r.a)
		noPipesOpen(t)
	}
}

// The system tells of a reset once, and it may be a splice that hears of it. It
// is no end of stream then, also where the other direction has ended before.
func TestSpliceHearsOfReset(t *testing.T) {
	for _, path := range []string{"splice", "moved"} {
		noPipesOpen(t)
		r := newRig(t, paths[path], duplex.Options{Probe: time.Hour})
		r.b.CloseWrite()
		seesEOF(t, r.a, 0)
		for sent := 0; duplex.PipesOpen() == 0; sent++ {
			if sent == 1000 {
				t.Fatalf("%s: no pipe is used", path)
			}
			go r.a.Write(make([]byte, 1<<20))
			receive(t, r.b, 1<<20)
		}
		reset(r.a)
		seesReset(t, r.b)
		r.done(t, -1, 0, false)
	}
}

// noPipesOpen makes garbage of the pipes, and checks that none is held.
func noPipesOpen(t *testing.T) {
	t.Helper()
	for i := 0; duplex.PipesOpen() > 0; i++ {
		if i == 1000 {
			t.Fatalf("%d pipes are open", duplex.PipesOpen())
		}
		runtime.GC()
		runtime.Gosched()
	}
}

func TestIdleHoldsTwoDescriptors(t *testing.T) {
	const pairs = 20
	var rigs []*rig
	noPipesOpen(t)
	before := openFiles(t)
	for range pairs {
		r := newRig(t, paths["splice"], duplex.Options{})
		rigs = append(rigs, r)
		go io.CopyN(r.a, rand.NewChaCha8([32]byte{}), 4<<20)
		receive(t, r.b, 4<<20)
		send(t, r.a, 1)
		receive(t, r.b, 1)
	}
	noPipesOpen(t)
	if n, want := openFiles(t)-before, 4*pairs; n != want { // two are the far ends
		t.Errorf("%d descriptors more, want %d", n, want)
	}
	for _, r := range rigs {
		r.a.Close()
		r.b.Close()
		r.done(t, 4<<20+1, 0, true)
	}
}

func openFiles(t testing.TB) int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds) - 1 // one is of this reading
}
