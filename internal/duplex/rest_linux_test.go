package duplex_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"keystay/internal/duplex"
)

// goroutinesGetTo waits until there are so many goroutines, or fewer.
func goroutinesGetTo(t *testing.T, most int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > most; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), most)
		}
	}
}

// Of two goroutines for a pair one is left while both directions wait, however often
// bytes have come in between, and one goroutine waits for all that rest.
func TestRestTakesNoGoroutine(t *testing.T) {
	const pairs = 20
	rest := duplex.NewRest(0)
	defer rest.Close()
	before := runtime.NumGoroutine()
	results := make(chan duplex.Result, pairs)
	var rigs []*rig
	for range pairs {
		r := &rig{result: results}
		a, near := tcpPair(t)
		b, far := tcpPair(t)
		r.a, r.b = a, b
		duplex.Start(near, far, duplex.Options{Rest: rest}, func(res duplex.Result) { results <- res })
		rigs = append(rigs, r)
	}
	for range 3 {
		for _, r := range rigs {
			send(t, r.a, some)
			receive(t, r.b, some)
			send(t, r.b, some)
			receive(t, r.a, some)
		}
		goroutinesGetTo(t, before+pairs+1)
	}
	for _, r := range rigs {
		r.a.Close()
		r.b.Close()
		r.done(t, 3*some, 3*some, true)
	}
}

// Many small pieces, each after a rest, arrive as they were sent.
func TestRestKeepsAllBytes(t *testing.T) {
	for path, way := range paths {
		if !way.rests {
			continue
		}
		t.Run(path, func(t *testing.T) {
			r := newRig(t, way, duplex.Options{})
			random := rand.NewChaCha8([32]byte{})
			sent, got := sha256.New(), sha256.New()
			var all int64
			for range 500 {
				piece := make([]byte, 1+random.Uint64()%100)
				random.Read(piece)
				sent.Write(piece)
				all += int64(len(piece))
				if _, err := r.a.Write(piece); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(got, r.b, int64(len(piece))); err != nil {
					t.Fatal(err)
				}
			}
			r.a.Close()
			r.b.Close()
			same(t, sent, got)
			r.done(t, all, 0, true)
		})
	}
}

// resting returns a rig whose direction from a to b rests behind its first byte, and the
// near end of a.
func resting(t *testing.T) (r *rig, rest *duplex.Rest, near *net.TCPConn) {
	t.Helper()
	rest = duplex.NewRest(0)
	t.Cleanup(rest.Close)
	before := runtime.NumGoroutine()
	r = &rig{result: make(chan duplex.Result, 1)}
	var far *net.TCPConn
	r.a, near = tcpPair(t)
	r.b, far = tcpPair(t)
	duplex.Start(near, far, duplex.Options{Rest: rest}, func(res duplex.Result) { r.result <- res })
	send(t, r.a, 1)
	receive(t, r.b, 1)
	goroutinesGetTo(t, before+2) // one for b to a, one of the rest
	return r, rest, near
}

// A connection that is closed on this side while it rests is noticed after Wake, and
// after Close: both ends see that it has ended.
func TestRestHearsOfAClosedConnectionByWake(t *testing.T) {
	for name, wake := range map[string]func(*duplex.Rest){"Wake": (*duplex.Rest).Wake, "Close": (*duplex.Rest).Close} {
		t.Run(name, func(t *testing.T) {
			r, rest, near := resting(t)
			near.Close()
			wake(rest)
			seesReset(t, r.b)
			r.done(t, 1, 0, false)
		})
	}
}

// After Close the directions go on, each by itself.
func TestClosedRestHoldsNobody(t *testing.T) {
	rest := duplex.NewRest(0)
	r := &rig{result: make(chan duplex.Result, 1)}
	a, near := tcpPair(t)
	b, far := tcpPair(t)
	r.a, r.b = a, b
	duplex.Start(near, far, duplex.Options{Rest: rest}, func(res duplex.Result) { r.result <- res })
	for range 3 {
		send(t, r.a, some)
		receive(t, r.b, some)
		rest.Close()
	}
	r.a.Close()
	r.b.Close()
	r.done(t, 3*some, 0, true)
}

// Where the set of those that rest cannot be waited for any more, nobody stays in it.
func TestRestThatCannotWaitHoldsNobody(t *testing.T) {
	r, rest, _ := resting(t)
	duplex.BreakRest(rest)
	send(t, r.a, some)
	receive(t, r.b, some)
	r.a.Close()
	r.b.Close()
	r.done(t, 1+some, 0, true)
}
