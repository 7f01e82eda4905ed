package duplex

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The sizes in bytes of the two kinds of buffers. A direction that has to hold
// one while it waits holds a small one, since most connections are idle most
// of the time; all else goes through large ones, four records of TLS each.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

// The pools are shared by all of the process, as buffers are worth keeping
// only beyond the life of a connection.
var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	largeBuffers sync.Pool // without New, which would be called with a deep stack
)

func newBuffer() *[]byte { b := make([]byte, largeBuffer); return &b }

// getBuffer returns a large buffer from the pool, or a new one.
func getBuffer() *[]byte {
	if b, ok := largeBuffers.Get().(*[]byte); ok {
		return b
	}
	return newBuffer()
}

// A direction is one half of a Copy.
type direction struct {
	*copying
	name     string
	src, dst Conn
	to       *giver // to the TCP connection that dst is or has moved to, once that is known
	bytes    atomic.Int64
	moving   atomic.Int64 // 1 more than bytes was when the direction moved to a carrier; 0 before
	busy     atomic.Bool  // no Read of src is under way that would see a reset
	ended    atomic.Bool  // all was written; the end of stream is passed on or about to be
	renews   bool         // may go on in a new goroutine
	rests    bool         // may wait in Options.Rest
	dozing   bool         // src has a read deadline, at which it is looked whether it is to rest
	place    uint64       // in Options.Rest, and guarded by its lock; 0 is none
	pacer    Pacer        // nil: bytes go at once
	portion  portion      // with a pacer
	spliced  int64        // of the bytes, those that the kernel has moved
}

// A roomy is a Conn that tells what it takes without waiting, see [Conn].
type roomy interface{ Room(wait bool) int }

// A queuer is a Conn that can take bytes and send them later, see [Conn].
type queuer interface {
	Queue(p []byte) int
	Flush()
}

// maxQueue is from how many bytes on a read is sent at once and not queued.
const maxQueue = 8 << 10

// pump copies from src to dst until the end of stream, or as far as errRenew.
func (d *direction) pump() error {
	if src := d.source(); src != nil {
		return d.fromTCP(src)
	}
	if err := d.fromConn(); err != nil {
		return err
	}
	src := d.source()
	if src == nil {
		return nil
	}
	if d.renews { // it was no end, but has moved
		return errRenew
	}
	return d.fromTCP(src)
}

// from returns what was read from last.
func (d *direction) from() net.Conn {
	if tcp, _ := carriers(d.src); tcp != nil {
		return tcp
	}
	return d.src
}

// fromConn copies from src itself, to its end or until it moves.
func (d *direction) fromConn() error {
	if src, ok := d.src.(io.WriterTo); ok && !isSocket(d.src) {
		_, err := src.WriteTo(writeEnd{d})
		return err
	}
	_, moves := d.dst.(carried)
	if dst, ok := d.dst.(io.ReaderFrom); ok && !moves && !isSocket(d.dst) {
		d.setBusy()
		n, err := dst.ReadFrom(readEnd{d})
		if n > 0 {
			d.add(n)
		}
		return err
	}
	return d.loop(d.src)
}

// isSocket reports whether c is, or embeds, a socket of the system.
func isSocket(c net.Conn) bool {
	_, ok := c.(syscall.Conn)
	return ok
}

// loop copies from src with a buffer that is held all the time: a large one
// only while what is read fills it.
func (d *direction) loop(src io.Reader) error {
	small := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(small)
	for more := false; ; {
		buf := small
		if more {
			buf = getBuffer()
		}
		n, readErr := src.Read(*buf)
		var err error
		if n > 0 {
			_, err = writeEnd{d}.Write((*buf)[:n])
		}
		if more {
			largeBuffers.Put(buf)
		}
		if err != nil || readErr == io.EOF {
			return err
		}
		if readErr != nil {
			return readErr
		}
		more = n == smallBuffer || n > smallBuffer && more
	}
}

// setBusy says that nobody reads src from now on.
func (d *direction) setBusy() {
	d.busy.Store(true)
	d.watch()
}

// waits is setBusy for a call from within a connection that is about to wait. The
// connection's Close waits for the call to return. A goroutine that closes a
// carrier may hold the lock that Carrier takes, and watch calls Carrier. So watch
// runs on a goroutine of its own.
func (d *direction) waits() {
	d.busy.Store(true)
	if !d.watching.Load() {
		go d.watch()
	}
}

// moved counts n bytes that were written.
func (d *direction) moved(n int) {
	if n > 0 {
		d.add(int64(n))
		d.touch()
	}
}

// add counts n bytes, more than 0.
func (d *direction) add(n int64) {
	if d.bytes.Add(n) == n && d == &d.copying.ba {
		d.first.Store(max(1, int64(time.Since(d.start))))
	}
}

// count returns how many bytes went, how many of them once the direction had moved to a
// carrier, and whether it has.
func (d *direction) count() (all, moved int64, has bool) {
	at := d.moving.Load() // before bytes, which grow
	if all = d.bytes.Load(); at > 0 {
		moved = all - (at - 1)
	}
	return all, moved, at > 0
}

// put writes p to w, which may wait for its peer.
func (d *direction) put(w io.Writer, p []byte) (int, error) {
	d.touch()
	d.setBusy()
	n, err := w.Write(p)
	d.busy.Store(false)
	d.moved(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// A writeEnd writes to a direction's destination, or what carries that, and
// keeps its account.
type writeEnd struct{ d *direction }

func (w writeEnd) Write(p []byte) (total int, err error) {
	d := w.d
	if d.pacer == nil {
		return d.write(p)
	}
	for len(p) > 0 && err == nil {
		var n int
		if n, err = d.await(len(p)); err == nil {
			n, err = d.write(p[:n])
		}
		total += n
		p = p[n:]
	}
	return total, err
}

// write writes p now, whatever the pacer says.
func (d *direction) write(p []byte) (int, error) {
	if to := d.sink(); to != nil {
		return to.write(p)
	}
	n, err := d.put(d.dst, p)
	if err == nil {
		d.sink() // so that what it has moved to is made ready at once
	}
	return n, err
}

// WriteNow writes what a TCP connection takes of p without waiting. It may be
// called by another goroutine than the direction's own, while that one waits for
// bytes of src.
func (w writeEnd) WriteNow(p []byte) (int, error) {
	if _, ok := w.d.dst.(*net.TCPConn); !ok {
		return 0, nil // to ask it for a carrier may take what the caller holds
	}
	if len(p) == 0 || !w.d.atOnce(len(p)) {
		return 0, nil
	}
	n, err := w.d.sink().writeNow(p)
	if w.d.pacer != nil {
		w.d.pacer.Return(len(p) - n)
	}
	return n, err
}

// A readEnd reads from a direction's source. The direction is busy but while a
// Read is under way.
type readEnd struct{ d *direction }

func (r readEnd) Read(p []byte) (int, error) {
	d := r.d
	d.busy.Store(false)
	n, err := d.src.Read(p)
	d.setBusy()
	d.touch()
	for left := n; left > 0 && d.pacer != nil; {
		went, wrong := d.await(left)
		if wrong != nil {
			return n - left, wrong
		}
		left -= went
	}
	return n, err
}
