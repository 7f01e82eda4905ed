package duplex

import (
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// The sizes in bytes of the two kinds of buffers. A direction that waits holds
// a small one, since most connections are idle most of the time, and one whose
// bytes come faster than that a large one.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

// The pools are shared by all of the process, as buffers are worth keeping
// only beyond the life of a connection.
var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
)

// A direction is one half of a Copy.
type direction struct {
	*copying
	name     string
	src, dst Conn
	bytes    atomic.Int64
	busy     atomic.Bool // no Read of src is under way that would see a reset
	ended    atomic.Bool // all was written; the end of stream is passed on or about to be
}

// pump copies from src to dst until the end of stream.
func (d *direction) pump() error {
	if src, dst, ok := d.spliceable(); ok {
		d.busy.Store(true) // the kernel may be reading or writing
		n, err := dst.ReadFrom(src)
		d.bytes.Add(n)
		return err
	}
	if src, ok := d.src.(io.WriterTo); ok && !isSocket(d.src) {
		_, err := src.WriteTo(writeEnd{d})
		return err
	}
	if dst, ok := d.dst.(io.ReaderFrom); ok && !isSocket(d.dst) {
		d.busy.Store(true)
		n, err := dst.ReadFrom(readEnd{d})
		d.bytes.Add(n)
		return err
	}
	return d.loop()
}

// spliceable returns both ends if the kernel can move the bytes between them.
func (d *direction) spliceable() (src, dst *net.TCPConn, ok bool) {
	if runtime.GOOS != "linux" {
		return nil, nil, false
	}
	src, srcOK := d.src.(*net.TCPConn)
	dst, dstOK := d.dst.(*net.TCPConn)
	return src, dst, srcOK && dstOK
}

// isSocket reports whether c is, or embeds, a socket of the system.
func isSocket(c net.Conn) bool {
	_, ok := c.(syscall.Conn)
	return ok
}

func (d *direction) loop() error {
	pool := &smallBuffers
	buf := pool.Get().(*[]byte)
	defer func() { pool.Put(buf) }()
	for {
		n, readErr := d.src.Read(*buf)
		if n > 0 {
			if _, err := (writeEnd{d}).Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
		next := pool
		if n == len(*buf) {
			next = &largeBuffers
		} else if n <= smallBuffer {
			next = &smallBuffers
		}
		if next != pool {
			pool.Put(buf)
			pool, buf = next, next.Get().(*[]byte)
		}
	}
}

// A writeEnd writes to a direction's destination and keeps its account.
type writeEnd struct{ d *direction }

func (w writeEnd) Write(p []byte) (int, error) {
	d := w.d
	d.touch()
	d.busy.Store(true)
	n, err := d.dst.Write(p)
	d.busy.Store(false)
	d.bytes.Add(int64(n))
	d.touch()
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
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
	d.busy.Store(true)
	d.touch()
	return n, err
}
