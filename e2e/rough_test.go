package e2e

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
)

// A rough proxy stands on a path and makes it bad: it cuts what passes into
// slices, delays and throttles some of them, resets connections, and goes
// silent. The zero values of its knobs leave what they are for alone.
type rough struct {
	t      testing.TB
	addr   string
	target string

	slice   atomic.Int64 // most bytes at once
	delay   atomic.Int64 // longest delay of a slice, in nanoseconds
	noLanes atomic.Int64 // bytes after which a lane is reset; 0 lets lanes alone
	reset   atomic.Int64 // a connection is reset after some bytes, on average so many

	mu     sync.Mutex
	silent chan struct{} // closed while nothing passes; a FIN or reset neither
	conns  map[*net.TCPConn]struct{}
}

// startRough starts a proxy in front of target that ends with the test.
func startRough(t testing.TB, target string) *rough {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rough{t: t, addr: ln.Addr().String(), target: target, silent: make(chan struct{}), conns: make(map[*net.TCPConn]struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.carry(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		r.cut()
		wg.Wait()
	})
	return r
}

// cut resets all connections.
func (r *rough) cut() { r.cutThose(r.open()) }

// open returns the connections that there are, both ends of each.
func (r *rough) open() (list []*net.TCPConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.conns))
}

// cutThose resets connections.
func (r *rough) cutThose(list []*net.TCPConn) {
	for _, c := range list {
		socket.Abort(c)
	}
}

// goSilent lets nothing pass any more on the connections that there are.
func (r *rough) goSilent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.silent)
	r.silent = make(chan struct{})
}

func (r *rough) carry(in *net.TCPConn) {
	out, err := net.Dial("tcp", r.target)
	if err != nil {
		socket.Abort(in)
		return
	}
	a, b := in, out.(*net.TCPConn)
	r.mu.Lock()
	r.conns[a], r.conns[b] = struct{}{}, struct{}{}
	silent := r.silent
	r.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { r.copy(a, b, silent) })
	r.copy(b, a, silent)
	wg.Wait()
	r.mu.Lock()
	delete(r.conns, a)
	delete(r.conns, b)
	r.mu.Unlock()
	a.Close()
	b.Close()
}

// copy carries one direction and passes on how it ends.
func (r *rough) copy(from, to *net.TCPConn, silent chan struct{}) {
	left := int64(-1)
	if n := r.reset.Load(); n > 0 {
		left = rand.Int64N(2 * n)
	}
	b := make([]byte, 32<<10)
	for first := true; ; first = false {
		max := int64(len(b))
		if n := r.slice.Load(); n > 0 {
			max = 1 + rand.Int64N(min(n, max))
		}
		n, err := from.Read(b[:max])
		select {
		case <-silent:
			io.Copy(io.Discard, from) // the peer's sends are taken, as by a network that is gone
			return
		default:
		}
		if k := r.noLanes.Load(); k > 0 && first && bytes.Contains(b[:n], []byte(framing.LaneProtocol)) {
			left = k
		}
		if d := r.delay.Load(); d > 0 && rand.IntN(20) == 0 {
			<-time.After(time.Duration(rand.Int64N(d)))
		}
		if left >= 0 {
			if left -= int64(n); left <= 0 {
				err = net.ErrClosed
			}
		}
		if n > 0 && (err == nil || err == io.EOF) {
			if _, werr := to.Write(b[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case err == io.EOF:
			to.CloseWrite()
			return
		case err != nil:
			socket.Abort(from)
			socket.Abort(to)
			return
		}
	}
}
