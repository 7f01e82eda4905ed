package duplex_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/internal/duplex"
)

func linger(t *testing.T, c *net.TCPConn) (on bool, sec int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		l, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
		if err != nil {
			t.Fatal(err)
		}
		on, sec = l.Onoff != 0, int(l.Linger)
	})
	return on, sec
}

// Bytes that the kernel moves on its own count against Idle: here to a reader so
// slow that Copy's write does not get on.
func TestSplicedBytesAreNotIdle(t *testing.T) {
	for _, path := range []string{"splice", "moved"} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/full %v", path, full), func(t *testing.T) {
				t.Parallel() // since it waits for the kernel's clock
				slowly(t, paths[path], full)
			})
		}
	}
}

// slowly judges a run only where the test itself was quick: on a busy machine bytes may
// come so late that the connections were idle indeed. It then tries again with more time.
func slowly(t *testing.T, way pathway, full bool) {
	for idle := time.Second; idle <= 16*time.Second; idle *= 2 {
		if trickle(t, way, full, idle) {
			return
		}
	}
	t.Skip("NOT CHECKED: the machine is too busy")
}

// trickle has bytes come ten times in idle, for longer than that, and looks when Copy ends
// behind them. It returns false, and has judged nothing, where they came too late.
func trickle(t *testing.T, way pathway, full bool, idle time.Duration) (onTime bool) {
	r := newRig(t, way, duplex.Options{Idle: idle})
	piece := 1
	if full {
		fill(r.a)
		piece = 64 << 10
	}
	var err error
	last := time.Now()
	for n := 0; n < 15 && err == nil; n++ {
		time.Sleep(idle / 10)
		if time.Since(last) > idle/5 {
			return false
		}
		last = time.Now()
		if !full {
			_, err = r.a.Write(make([]byte, piece))
		}
		if err == nil {
			_, err = io.ReadFull(r.b, make([]byte, piece))
		}
	}
	if time.Since(last) > idle/5 {
		return false
	}
	if err != nil {
		t.Fatalf("it ended while bytes came: %v", err)
	}
	seesReset(t, r.a)
	if quiet := time.Since(last); quiet < idle/2 {
		t.Errorf("ended %v after the last byte", quiet)
	}
	if res := r.wait(t); res.Err != duplex.ErrIdle {
		t.Errorf("got %v", res.Err)
	}
	return true
}

// While Copy holds a connection, the death of the process resets it, whatever
// is or is not under way.
func TestLingerIsZeroUntilTheEnd(t *testing.T) {
	farA, a := tcpPair(t)
	farB, b := tcpPair(t)
	result := make(chan duplex.Result, 1)
	go func() { result <- duplex.Copy(a, b, duplex.Options{}) }()
	send(t, farA, 1)
	receive(t, farB, 1)
	for _, c := range []*net.TCPConn{a, b} {
		if on, sec := linger(t, c); !on || sec != 0 {
			t.Errorf("linger: on %v, %d s", on, sec)
		}
	}
	farA.CloseWrite()
	farB.CloseWrite()
	if res := <-result; res.Err != nil {
		t.Error(res.Err)
	}
	seesEOF(t, farA, 0)
	seesEOF(t, farB, 0)
}

func TestLingerOfACarrier(t *testing.T) {
	for name, m := range moves {
		if !m.read && !m.write {
			continue
		}
		r := newMoving(t, true)
		r.moveTo(t, m.read, m.write)
		if on, sec := linger(t, r.mover.lane); !on || sec != 0 {
			t.Errorf("%s: on %v, %d s", name, on, sec)
		}
		r.b.CloseWrite()
		r.mem.CloseWrite()
		r.a.CloseWrite()
		r.done(t, 1, 1, true)
		seesEOF(t, r.b, 0)
	}
}
