package framing_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// An end is one end of a stream in a model: what must be true of it once all
// that was sent has arrived.
type end struct {
	name   string
	stream *framing.Stream
	other  *end

	pending []byte // has arrived and was not read
	ended   bool   // CloseWrite or Close was called here
	closed  bool   // Close or Reset was called here
	reset   bool   // the other side has reset the stream
	written byte   // the next byte to write, so that order is seen

	// Of a stream that has moved to a lane:
	moved    bool
	sendLane bool // this end had not ended before
	recvLane bool // nor had the other
	buffered int  // how much of pending came before
	unseen   bool // reset is known to the lane alone, which this end has not used since
}

func (e *end) settled() bool { return e.ended && e.other.ended }

func (e *end) write(t *testing.T, n int) {
	p := make([]byte, n)
	for i := range p {
		p[i] = e.written + byte(i)
	}
	e.stream.SetWriteDeadline(time.Now().Add(time.Millisecond))
	got, err := e.stream.Write(p)
	want := error(nil)
	switch {
	case e.closed:
		want = net.ErrClosed
	case e.reset && !e.unseen:
		want = syscall.ECONNRESET
	case e.ended:
		want = syscall.EPIPE
	case e.reset, e.sendLane && e.other.closed: // as TCP answers
		want = syscall.ECONNRESET
		e.reset, e.unseen, e.pending = true, false, nil
	}
	if want == nil && err != nil {
		want = os.ErrDeadlineExceeded // there may be no credit
		// Credit for what was read is given back in large steps.
		if len(e.other.pending)+got < framing.InitialCredit/2 && !e.other.closed {
			t.Fatalf("%s: wrote %d of %d bytes with %d unread: %v", e.name, got, n, len(e.other.pending), err)
		}
	}
	if !errors.Is(err, want) || err == nil && got != n || want != nil && want != os.ErrDeadlineExceeded && got != 0 {
		t.Fatalf("%s: wrote %d of %d bytes: %v, want %v", e.name, got, n, err, want)
	}
	e.written += byte(got)
	if !e.other.closed {
		e.other.pending = append(e.other.pending, p[:got]...)
	}
}

func (e *end) read(t *testing.T, n int) {
	p := make([]byte, n)
	e.stream.SetReadDeadline(time.Now().Add(time.Millisecond))
	got, err := io.ReadFull(e.stream, p)
	want := error(nil)
	switch {
	case e.closed:
		want = net.ErrClosed
	case e.reset && !e.unseen:
		want = syscall.ECONNRESET
	case len(e.pending) >= n:
	case e.reset && e.recvLane:
		want = syscall.ECONNRESET
		e.unseen = false
	case !e.other.ended:
		want = os.ErrDeadlineExceeded
	case len(e.pending) == 0:
		want = io.EOF
	default:
		want = io.ErrUnexpectedEOF
	}
	if !errors.Is(err, want) {
		t.Fatalf("%s: read %d bytes with %d pending: %v, want %v", e.name, n, len(e.pending), err, want)
	}
	if len(e.pending) < got || !bytes.Equal(p[:got], e.pending[:got]) || want == nil && got != n {
		t.Fatalf("%s: read other bytes than were written", e.name)
	}
	e.pending = e.pending[got:]
	e.buffered = max(0, e.buffered-got)
}

func (e *end) closeWrite(t *testing.T) {
	err := e.stream.CloseWrite()
	want := error(nil)
	switch {
	case e.closed:
		want = net.ErrClosed
	case e.reset && !e.unseen:
		want = syscall.ECONNRESET
	default:
		e.ended = true
	}
	if !errors.Is(err, want) {
		t.Fatalf("%s: CloseWrite: %v, want %v", e.name, err, want)
	}
}

func (e *end) close(t *testing.T) {
	err := e.stream.Close()
	if e.closed != (err != nil) {
		t.Fatalf("%s: Close: %v, closed before: %v", e.name, err, e.closed)
	}
	if e.closed {
		return
	}
	if len(e.pending) > 0 && !e.reset {
		e.cut()
	} else {
		e.closed, e.ended = true, true
	}
}

// cut is a reset by this end.
func (e *end) cut() {
	o := e.other
	switch {
	case e.reset || o.closed || e.moved && e.closed:
	case e.moved: // also after both have ended
		o.reset, o.unseen, o.pending = true, true, o.pending[:o.buffered]
	case !e.settled():
		o.reset, o.pending = true, nil
	}
	e.closed = true
	e.pending = nil
}

// move moves the stream to a lane, if it can.
func (e *end) move(t *testing.T, r *laneRig) {
	if e.moved {
		return
	}
	o := e.other
	can := !e.closed && !o.closed && !e.reset && !o.reset && !(e.ended && o.ended)
	lane := r.join(t, func(t testing.TB) (relay, remote *tls.Conn) {
		a, b := memconn.Pipe(0)
		t.Cleanup(func() { a.Reset(); b.Reset() })
		return r.shake(t, a, b)
	})
	bound := lane.Bind(t.Context(), e.stream) == nil
	if err := <-r.served; (err == nil) != bound {
		t.Fatalf("one end of the lane is bound and the other has %v", err)
	}
	if bound != can {
		t.Fatalf("bound is %v, want %v", bound, can)
	}
	if bound {
		e.moved, o.moved = true, true
		e.sendLane, o.recvLane = !e.ended, !e.ended
		o.sendLane, e.recvLane = !o.ended, !o.ended
		e.buffered, o.buffered = len(e.pending), len(o.pending)
	}
}

// FuzzStream does random things to both ends of a stream and checks each
// against the model: bytes in order and whole, EOF after END alone, and resets.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 9, 1, 5, 2, 4, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0})
	f.Add([]byte{0, 255, 0, 255, 0, 255, 3, 255, 3, 255, 4, 0, 3, 255})
	f.Add([]byte{1, 200, 5, 0, 2, 255, 2, 255, 8, 0, 3, 1})
	f.Add([]byte{0, 10, 3, 10, 9, 0, 0, 5, 6, 0, 1, 4})
	f.Add([]byte("71X\x00")) // both END: the other side may be done before flush returns
	f.Add([]byte{0, 9, 1, 5, 12, 0, 0, 9, 1, 5, 2, 40, 3, 40, 4, 0, 3, 255, 5, 0, 2, 255, 6, 0, 7, 0})
	f.Add([]byte{0, 200, 4, 0, 12, 0, 1, 200, 3, 255, 2, 255, 8, 0, 1, 1})
	f.Add([]byte{1, 200, 12, 0, 1, 200, 9, 0, 2, 100, 0, 1})
	f.Add([]byte{12, 0, 0, 9, 6, 0, 1, 9, 3, 9})
	server, client := laneTLS(f)
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runModel(t, newLaneRig(t, server, client), ops) })
	})
}

// TestStreamModel is FuzzStream on operations by lot, most of them with a move.
func TestStreamModel(t *testing.T) {
	server, client := laneTLS(t)
	for range 100 * rounds() {
		ops := make([]byte, 2*(2+rand.IntN(20)))
		for i := range ops {
			ops[i] = byte(rand.IntN(256))
		}
		ops[2*rand.IntN(min(5, len(ops)/2))] = 12
		ok := t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, newLaneRig(t, server, client), ops) })
		})
		if !ok {
			t.Fatalf("operations: %q", ops)
		}
	}
}

func runModel(t *testing.T, r *laneRig, ops []byte) {
	relay, remote := r.relay, r.remote
	v, d := open(t, relay, remote, "")
	a, b := &end{name: "visitor", stream: v}, &end{name: "device", stream: d}
	a.other, b.other = b, a
	start := time.Now()
	for ; len(ops) >= 2 && time.Since(start) < framing.CloseLinger/2; ops = ops[2:] {
		e, n := a, 1+int(ops[1])*300
		if ops[0]%2 == 1 {
			e = b
		}
		switch ops[0] / 2 % 7 {
		case 0:
			e.write(t, n)
		case 1:
			e.read(t, n)
		case 2:
			e.closeWrite(t)
		case 3:
			e.close(t)
		case 4:
			e.stream.Reset()
			e.cut()
		case 5:
			e.read(t, max(1, len(e.pending))) // all there is
		case 6:
			b.move(t, r)
		}
		synctest.Wait()
		if broken := e.stream.Broken() != nil; broken != e.reset && !e.closed {
			t.Fatalf("%s: Broken is %v", e.name, broken)
		}
		for _, e := range []*end{a, b} {
			if rule := framing.Illegal(e.stream); rule != "" {
				t.Fatalf("%s: %s", e.name, rule)
			}
		}
	}
	for _, e := range []*end{a, b} {
		if !e.closed && !e.reset {
			e.read(t, len(e.pending)+1)
		}
	}
	v.Reset()
	d.Reset()
	settled(t, relay, remote)
}
