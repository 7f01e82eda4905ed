package world

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

// A Proxy stands on a path of TCP connections and makes it bad: it cuts what
// passes into slices, delays and throttles some of them, resets connections, and
// goes silent. A knob that is 0 leaves what it is for alone. The ends and resets
// of connections are passed on.
type Proxy struct {
	Addr string // where it listens

	Slice   atomic.Int64 // most bytes of one write, which has a random number up to that
	Delay   atomic.Int64 // longest delay of a slice, in nanoseconds; one in twenty is delayed
	NoLanes atomic.Int64 // bytes after which a lane is reset
	Reset   atomic.Int64 // a connection is reset after some bytes, on average so many

	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu       sync.Mutex
	conns    map[*net.TCPConn]struct{}
	refusing bool
	lost     chan struct{} // closed by Lose, for the connections that there are
	held     chan struct{} // closed by Release; nil where nothing is held
}

// LaunchProxy starts a proxy that listens on an address and dials target. The
// caller closes it.
func LaunchProxy(listen, target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: ln.Addr().String(), ln: ln, target: target, lost: make(chan struct{}), conns: make(map[*net.TCPConn]struct{})}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.carry(c.(*net.TCPConn)) })
		}
	})
	return p, nil
}

// StartProxy starts a proxy in front of target, on any port of the address
// 127.0.0.1, that ends with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	return StartProxyOn(t, "127.0.0.1:0", target)
}

// StartProxyOn is StartProxy on an address.
func StartProxyOn(t testing.TB, listen, target string) *Proxy {
	t.Helper()
	p, err := LaunchProxy(listen, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	p.ln.Close()
	p.Refuse()
	p.Release()
	p.Cut()
	p.wg.Wait()
}

// Conns returns the connections that there are, both ends of each.
func (p *Proxy) Conns() []*net.TCPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.conns))
}

// Cut resets all connections.
func (p *Proxy) Cut() { CutConns(p.Conns()) }

// CutConns resets connections.
func CutConns(list []*net.TCPConn) {
	for _, c := range list {
		socket.Abort(c)
	}
}

// Refuse resets all connections that are still to come.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
}

// Lose lets nothing pass any more on the connections that there are, as where a
// cable is cut: no FIN and no reset either.
func (p *Proxy) Lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.lost)
	p.lost = make(chan struct{})
}

// Hold holds back all that comes until Release, on all connections.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// Release passes on what Hold has held back, and all that comes.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

func (p *Proxy) carry(in *net.TCPConn) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		socket.Abort(in)
		return
	}
	a, b := in, out.(*net.TCPConn)
	p.mu.Lock()
	refusing, lost := p.refusing, p.lost
	if !refusing {
		p.conns[a], p.conns[b] = struct{}{}, struct{}{}
	}
	p.mu.Unlock()
	if refusing {
		CutConns([]*net.TCPConn{a, b})
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(a, b, lost) })
	p.copy(b, a, lost)
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, a)
	delete(p.conns, b)
	p.mu.Unlock()
	a.Close()
	b.Close()
}

// copy carries one direction and passes on how it ends.
func (p *Proxy) copy(from, to *net.TCPConn, lost chan struct{}) {
	left := int64(-1) // bytes until a reset
	if n := p.Reset.Load(); n > 0 {
		left = rand.Int64N(2 * n)
	}
	b := make([]byte, 32<<10)
	for first := true; ; first = false {
		n, err := from.Read(b)
		p.awaitRelease()
		select {
		case <-lost:
			io.Copy(io.Discard, from) // the peer's sends are taken, as by a network that is gone
			return
		default:
		}
		if k := p.NoLanes.Load(); k > 0 && first && bytes.Contains(b[:n], []byte(framing.LaneProtocol)) {
			left = k
		}
		if werr := p.pass(to, b[:n], &left); werr != nil {
			err = werr
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

// pass writes b in slices, until the bytes that are left are over.
func (p *Proxy) pass(to *net.TCPConn, b []byte, left *int64) error {
	for len(b) > 0 {
		n := int64(len(b))
		if most := p.Slice.Load(); most > 0 {
			n = 1 + rand.Int64N(min(most, n))
		}
		if d := p.Delay.Load(); d > 0 && rand.IntN(20) == 0 {
			<-time.After(time.Duration(rand.Int64N(d)))
		}
		if *left >= 0 {
			if *left -= n; *left <= 0 {
				return net.ErrClosed
			}
		}
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// awaitRelease waits while all is held back.
func (p *Proxy) awaitRelease() {
	for {
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held == nil {
			return
		}
		<-held
	}
}
