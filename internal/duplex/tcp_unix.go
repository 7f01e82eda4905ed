//go:build unix

package duplex

import (
	"io"
	"net"
	"os"
	"syscall"

	"keystay/internal/socket"
)

// fromTCP copies from src to its end. While it waits for bytes it holds neither
// a buffer nor a pipe.
//
// What is called from here is kept shallow, and nothing large is on the stack,
// so that a goroutine that waits has not outgrown its first 2 KiB.
func (d *direction) fromTCP(src *net.TCPConn) error {
	t, err := newTaker(d, src)
	if err != nil {
		return err
	}
	if d.to == nil {
		t.to, _ = d.dst.(roomy)
		t.queue, _ = d.dst.(queuer)
	}
	for {
		if d.to != nil {
			t.to, t.queue = nil, nil
		} else if t.to != nil && t.to.Room(false) == 0 {
			t.flush()
			d.setBusy()
			t.to.Room(true)
			d.busy.Store(false)
		}
		if err := t.raw.Read(t.take); err != nil {
			if !d.dozed(src, err) {
				return err
			}
			t.flush() // the wait may have ended before it began
			if d.goesToRest(t.raw) {
				return errRests
			}
			continue
		}
		if d.portion.waits() {
			t.flush()
			if err := d.pause(); err != nil {
				return err
			}
			continue
		}
		if t.buf == nil {
			t.spare = newBuffer()
			continue
		}
		n, err := t.n, t.err
		inConn := d.to == nil
		if n > 0 {
			err = t.write((*t.buf)[:n])
		}
		t.release()
		if err != nil || n == 0 {
			return err
		}
		deep := inConn && d.to != nil // a Write of a Conn's own was the last
		if t.bulk(n) && d.to != nil {
			d.stayAwake(src)
			if t.large, err = d.splice(t.raw, d.to.raw); err != nil {
				return err
			}
			deep = t.large >= 0
		}
		if deep && d.renews {
			return errRenew
		}
	}
}

// A taker reads once from a socket, into a buffer that it borrows for that.
type taker struct {
	d     *direction
	src   *net.TCPConn
	raw   syscall.RawConn
	take  func(fd uintptr) bool // its own method
	buf   *[]byte               // filled
	spare *[]byte
	n     int
	err   error
	to    roomy  // what is read goes there; nil where its room is not known
	queue queuer // where less than maxQueue bytes go; nil where dst has no queue
	late  bool   // something is queued there that is not sent
	large int    // large reads in a row; negative after a splice that failed
}

func newTaker(d *direction, src *net.TCPConn) (*taker, error) {
	raw, err := src.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &taker{d: d, src: src, raw: raw}
	t.take = t.read
	return t, nil
}

// read returns false if there is nothing to read yet. It leaves no buffer where
// that is to be waited for, or where the pool has none.
func (t *taker) read(fd uintptr) bool {
	if !t.d.begin(largeBuffer, fd) {
		return true
	}
	t.buf, t.spare = t.spare, nil
	if t.buf == nil {
		if t.buf, _ = largeBuffers.Get().(*[]byte); t.buf == nil {
			return true
		}
	}
	p := *t.buf
	if t.to != nil {
		p = p[:max(1, min(len(p), t.to.Room(false)))]
	}
	t.n, t.err = socket.Read(fd, p[:t.d.most(len(p))])
	t.d.moves(t.n)
	if t.err == syscall.EAGAIN {
		t.release()
		t.flush()
		t.d.doze(t.src)
		return false
	}
	if t.err != nil {
		t.err = os.NewSyscallError("read", t.err)
	}
	return true
}

// write writes p. Less than maxQueue bytes are queued where that is possible, and sent
// once there is nothing more to read: so an end goes along with them.
func (t *taker) write(p []byte) error {
	d := t.d
	if t.queue != nil && len(p) < maxQueue && d.sink() == nil {
		n := t.queue.Queue(p)
		d.moved(n)
		t.late = t.late || n > 0
		if p = p[n:]; len(p) == 0 && d.sink() == nil {
			return nil
		}
		t.flush()
	}
	if len(p) == 0 {
		return nil
	}
	if d.sink() != nil {
		t.flush() // it has moved meanwhile
	}
	_, err := d.write(p)
	return err
}

// flush sends what is queued.
func (t *taker) flush() {
	if t.late {
		t.late = false
		t.queue.Flush()
	}
}

func (t *taker) release() {
	largeBuffers.Put(t.buf)
	t.buf = nil
}

// A giver writes to the TCP connection that a direction goes to.
type giver struct {
	d    *direction
	raw  syscall.RawConn
	give func(fd uintptr) bool // its own method
	left []byte
	now  bool // it is not to wait
	err  error
}

func newGiver(d *direction, to *net.TCPConn) *giver {
	g := &giver{d: d}
	g.raw, g.err = to.SyscallConn()
	g.give = g.writeSome
	return g
}

// write writes all of p.
func (g *giver) write(p []byte) (int, error) {
	n, err := g.put(p, false)
	g.d.busy.Store(false)
	return n, err
}

// writeNow writes what the socket takes of p now.
func (g *giver) writeNow(p []byte) (int, error) { return g.put(p, true) }

func (g *giver) put(p []byte, now bool) (int, error) {
	if g.raw == nil {
		return 0, g.err
	}
	g.left, g.now = p, now
	err := g.raw.Write(g.give)
	if err == nil {
		err = g.err
	}
	n := len(p) - len(g.left)
	g.left = nil
	return n, err
}

// writeSome returns false if it has to wait for room.
func (g *giver) writeSome(fd uintptr) bool {
	for len(g.left) > 0 {
		n, err := socket.Write(fd, g.left)
		switch {
		case n > 0:
			g.left = g.left[n:]
			g.d.moved(n)
		case err == syscall.EAGAIN && g.now:
			return true
		case err == syscall.EAGAIN:
			g.d.waits()
			return false
		case err != nil:
			g.err = os.NewSyscallError("write", err)
			return true
		default:
			g.err = io.ErrShortWrite
			return true
		}
	}
	return true
}
