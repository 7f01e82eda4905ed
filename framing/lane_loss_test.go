package framing_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// SWITCH may come before BOUND, which goes another way.
func TestSwitchBeforeBound(t *testing.T) {
	server, client := laneTLS(t)
	moved := frame(psh, byHand, rec(dataRec, []byte("x")), rec(switchRec, u64(1)))
	run := func(name string, f func(t *testing.T, r *laneRelay)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLaneRelay(t, server, client)
				f(t, r)
				up(t, r.link)
				r.device.Reset()
				settled(t, r.link)
			})
		})
	}
	reads := func(t *testing.T, r *laneRelay, text string) {
		t.Helper()
		b := make([]byte, len(text))
		r.device.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(r.device, b); err != nil || string(b) != text {
			t.Errorf("read %q, %v, want %q", b, err, text)
		}
	}
	run("BOUND comes", func(t *testing.T, r *laneRelay) {
		if err := r.bind(t, func() {
			r.p.send(moved)
			up(t, r.link)
			r.tls.Write(rec(boundRec))
			r.below().Write([]byte("yz"))
		}); err != nil {
			t.Fatal(err)
		}
		reads(t, r, "xyz")
	})
	run("the lane is lost", func(t *testing.T, r *laneRelay) {
		if err := r.bind(t, func() {
			r.p.send(moved)
			up(t, r.link)
			socket.Abort(r.below())
		}); err == nil {
			t.Fatal("bound")
		}
		broken(t, r.device)
		if _, err := r.device.Read(make([]byte, 1)); errors.Is(err, net.ErrClosed) {
			t.Errorf("this side has not closed the stream: %v", err)
		}
	})
	run("it comes after the lane was lost", func(t *testing.T, r *laneRelay) {
		if err := r.bind(t, func() { socket.Abort(r.below()) }); err == nil {
			t.Fatal("bound")
		}
		up(t, r.link)
		r.p.send(moved)
		up(t, r.link)
		broken(t, r.device)
		if _, err := r.device.Read(make([]byte, 1)); errors.Is(err, net.ErrClosed) {
			t.Errorf("this side has not closed the stream: %v", err)
		}
	})
	// The smux side has nothing to do any more, and the stream still lives.
	run("the device has ended", func(t *testing.T, r *laneRelay) {
		r.device.CloseWrite()
		if err := r.bind(t, func() {
			r.p.send(frame(psh, byHand, rec(switchRec, u64(0))))
			up(t, r.link)
			if n := r.link.NumStreams(); n != 1 {
				t.Errorf("%d streams are open", n)
			}
			start := time.Now()
			r.device.SetReadDeadline(start.Add(time.Second))
			if _, err := r.device.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("read: %v after %v", err, time.Since(start))
			}
			r.tls.Write(rec(boundRec))
			r.below().Write([]byte("xyz"))
		}); err != nil {
			t.Fatal(err)
		}
		reads(t, r, "xyz")
		if n := r.link.NumStreams(); n != 1 {
			t.Errorf("%d streams are open on the lane", n)
		}
	})
	run("the device has ended while it read", func(t *testing.T, r *laneRelay) {
		r.device.CloseWrite()
		if err := r.bind(t, func() {
			start := time.Now()
			r.device.SetReadDeadline(start.Add(time.Second))
			time.AfterFunc(time.Millisecond, func() { r.p.send(frame(psh, byHand, rec(switchRec, u64(0)))) })
			if _, err := r.device.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("read: %v after %v", err, time.Since(start))
			}
			r.tls.Write(rec(boundRec))
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// below is the relay's end of the lane without TLS.
func (r *laneRelay) below() net.Conn { return r.tls.NetConn().(*framing.TLSRecordConn).Conn }

// A gate is a connection whose writes wait while it is closed.
type gate struct {
	*memconn.Conn
	open chan struct{} // nil when it is open
}

func (g *gate) Write(p []byte) (int, error) {
	if g.open != nil {
		<-g.open
	}
	return g.Conn.Write(p)
}

// bindSlowly has a remote by hand bind a lane to stream 3, whose BOUND waits
// until pass is called.
func (r *laneRig) bindSlowly(t testing.TB) (remote *tls.Conn, pass func()) {
	t.Helper()
	c, token := r.attack(t)
	c.Write(rec(joinRec, token))
	synctest.Wait()
	g := r.far
	g.open = make(chan struct{})
	c.Write(rec(bindRec, u32(3)))
	synctest.Wait()
	return c, func() { close(g.open) }
}

// CutLanes cuts a stream whose lane is just being bound: it must not live on
// when the link is closed next.
func TestCutLanes(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "") // stream 3
		v2, d2 := open(t, r.relay, r.remote, "")
		v3, d3 := open(t, r.relay, r.remote, "")
		r.move(t, d2)
		spare := r.lane(t)
		_, pass := r.bindSlowly(t)
		r.relay.CutLanes()
		pass()
		<-r.served
		synctest.Wait()
		broken(t, v)
		broken(t, d)
		broken(t, v2)
		broken(t, d2)
		talk(t, v3, d3)
		if _, err := r.remote.WantLanes(t.Context(), 1); !errors.Is(err, framing.ErrNoLanes) {
			t.Errorf("lanes after CutLanes: %v", err)
		}
		if err := spare.Bind(t.Context(), d3); err == nil {
			t.Error("a lane that had waited was bound after CutLanes")
		}
		<-r.served
		talk(t, v3, d3)
		for _, s := range []*framing.Stream{v, d, v2, d2, v3, d3} {
			s.Reset()
		}
		settled(t, r.relay, r.remote)
	})
}

// Both directions may have ended by the time that a lane is bound. Then it is
// closed, and its loss breaks nothing.
func TestEndedWhileBound(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "") // stream 3
		c, pass := r.bindSlowly(t)
		v.CloseWrite()
		d.CloseWrite()
		synctest.Wait()
		pass()
		if err := <-r.served; err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c.NetConn()) // BOUND, and the end
		r.lose()
		time.Sleep(2 * duplex.DefaultProbe)
		if err := v.Broken(); err != nil {
			t.Errorf("a stream that has ended in good order is broken: %v", err)
		}
		want(t, v, "")
		settled(t, r.relay, r.remote)
	})
}

// CloseWrite while a write waits is the end of that write and of nothing more,
// as without a lane.
func TestCloseWriteWhileWriting(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "")
		r.move(t, d)
		wrote := make(chan error, 1)
		go func() { _, err := d.Write(make([]byte, 1<<20)); wrote <- err }()
		synctest.Wait()
		d.CloseWrite()
		if err := <-wrote; !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the write: %v", err)
		}
		io.WriteString(v, "still here")
		b := make([]byte, 10)
		if _, err := io.ReadFull(d, b); err != nil {
			t.Errorf("the other direction: %v", err)
		}
		if n, err := io.Copy(io.Discard, struct{ io.Reader }{v}); err != nil || n == 0 {
			t.Errorf("read %d bytes, %v", n, err)
		}
		v.Close()
		d.Close()
		settled(t, r.relay, r.remote)
	})
}

// A lateConn is a TCP connection whose reads begin when they are told to.
type lateConn struct {
	*net.TCPConn
	reads chan struct{} // each read takes one; nil for as many as there are
}

func (c *lateConn) Read(p []byte) (int, error) {
	if c.reads != nil {
		<-c.reads
	}
	return c.TCPConn.Read(p)
}

// The system tells of a reset once: a write that learns of it leaves a read with
// an end of stream, which must not be taken for one.
func TestResetIsNoEnd(t *testing.T) {
	server, client := laneTLS(t)
	r := newLaneRig(t, server, client)
	v, d := open(t, r.relay, r.remote, "")
	a, b := testnet.TCPPair(t)
	near := &lateConn{TCPConn: b}
	lane := r.join(t, func(t testing.TB) (relay, remote *tls.Conn) { return r.shake(t, a, near) })
	if err := errors.Join(lane.Bind(t.Context(), d), <-r.served); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	near.reads = make(chan struct{})
	read := make(chan error, 1)
	go func() { _, err := d.Read(make([]byte, 1)); read <- err }()
	socket.Abort(a)
	for duplex.Broken(near) == nil { // until the reset has come
		runtime.Gosched()
	}
	if _, err := near.TCPConn.Write([]byte("x")); err == nil { // what a Write does before it has the lock
		t.Fatal("the reset did not come: this test is void")
	}
	close(near.reads)
	if err := <-read; err == nil || err == io.EOF {
		t.Errorf("read from a lane that was reset: %v", err)
	}
	d.Close()
	v.Reset()
}
