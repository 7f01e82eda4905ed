package framing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"keystay/internal/duplex"
)

// Write writes to the hop, or to the lane.
func (d *Detour) Write(p []byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.phase == over:
			return n, d.cause
		case d.phase == taking:
			d.changed.Wait()
			continue
		case d.phase == taken:
			var m int
			d.unlocked(func() { m, err = d.lane.Write(p[n:]) })
			return n + m, d.failLocked(err)
		}
		var m int
		d.writing = true
		d.unlocked(func() { m, err = d.hop.Write(p[n:]) })
		d.writing = false
		d.changed.Broadcast()
		n += m
		d.sent += int64(m)
		d.keepLocked()
		if n == len(p) {
			return n, nil
		}
		if d.phase == taking && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		return n, d.failLocked(err)
	}
}

// unlocked runs f, which may wait, without the lock.
func (d *Detour) unlocked(f func()) {
	d.mu.Unlock()
	defer d.mu.Lock()
	f()
}

// errOnLane is the error of a read of the hop behind which the lane goes on.
var errOnLane = errors.New("what follows comes on the lane")

// readHop reads from the hop up to its end: io.EOF is the visitor's answer's, errOnLane
// that of the hop.
func (d *Detour) readHop(p []byte) (n int, err error) {
	n, err = d.hop.Read(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got += int64(n)
	d.keepLocked()
	switch {
	case d.told && d.got > d.from:
		return 0, d.failLocked(protocolErrorf("more than %d bytes came by the hop", d.from))
	case err == io.EOF && !d.shut && !duplex.Alive(d.hop):
		err = syscall.ECONNRESET // a write has been told of it
	case err == io.EOF:
		return n, d.hopEndLocked()
	}
	return n, d.failLocked(err)
}

// hopEndLocked is the end of the hop. What it means FROM says, where the visitor is
// taken.
func (d *Detour) hopEndLocked() error {
	for d.phase == taking || d.phase == taken && !d.told {
		d.changed.Wait()
	}
	switch {
	case d.phase == over:
		return d.cause
	case d.phase != taken:
		d.ended = true
		return io.EOF
	case d.got != d.from:
		return d.failLocked(fmt.Errorf("the hop ended after %d bytes of %d: %w", d.got, d.from, io.ErrUnexpectedEOF))
	}
	d.ended, d.moved = d.fromEnd, !d.fromEnd
	d.leaveHopLocked()
	if d.moved {
		return errOnLane
	}
	return io.EOF
}

// next is Read, up to errOnLane.
func (d *Detour) next(p []byte) (n int, err error) {
	d.mu.Lock()
	cause, ended, moved := d.cause, d.ended, d.moved
	d.mu.Unlock()
	switch {
	case cause != nil:
		return 0, cause
	case ended:
		return 0, io.EOF
	case !moved:
		return d.readHop(p)
	}
	n, err = d.lane.Read(p) // which is set for good
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == io.EOF && !d.shutLane && !duplex.Alive(d.lane):
		err = syscall.ECONNRESET
	case err == io.EOF:
		return n, err
	}
	return n, d.failLocked(err)
}

// Read reads from the hop, and then from the lane.
func (d *Detour) Read(p []byte) (int, error) {
	for {
		n, err := d.next(p)
		if err != errOnLane {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// The sizes in bytes of what WriteTo holds while it waits, and while that fills up.
const (
	detourSmall = 4 << 10
	detourLarge = 64 << 10
)

var detourBuffers = sync.Pool{New: func() any { return new([detourLarge]byte) }}

// WriteTo writes to w what comes, up to its end, or as far as Carrier has it.
func (d *Detour) WriteTo(w io.Writer) (total int64, err error) {
	small := make([]byte, detourSmall)
	for more := false; ; {
		if read, _ := d.Carrier(); read != nil {
			return total, nil
		}
		n, err := 0, error(nil)
		if more {
			large := detourBuffers.Get().(*[detourLarge]byte)
			n, err = d.pass(w, large[:])
			detourBuffers.Put(large)
		} else {
			n, err = d.pass(w, small)
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		more = n >= detourSmall
	}
}

// pass writes to w what one Read brings.
func (d *Detour) pass(w io.Writer, buf []byte) (n int, err error) {
	n, err = d.next(buf)
	if err == errOnLane {
		err = nil
	}
	if n > 0 {
		if _, werr := w.Write(buf[:n]); werr != nil {
			return n, werr
		}
	}
	return n, err
}

// Broken returns why hop or lane can carry no more, as far as that is known without
// waiting; see [duplex.Conn].
func (d *Detour) Broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == over {
		return d.cause
	}
	if !d.offHopLocked() {
		if err := duplex.Broken(d.hop); err != nil {
			return err
		}
	}
	if d.lane != nil {
		return duplex.Broken(d.lane)
	}
	return nil
}

// Carrier returns the TCP connections that carry the two directions from now on, each
// nil while the Detour itself does; see [duplex.Conn].
func (d *Detour) Carrier() (read, write *net.TCPConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.phase {
	case kept:
		hop, _ := d.hop.(*net.TCPConn)
		return hop, hop
	case taken:
		lane, _ := d.lane.(*net.TCPConn)
		if d.moved {
			read = lane
		}
		write = lane
	}
	return read, write
}

// LocalAddr is the hop's.
func (d *Detour) LocalAddr() net.Addr { return d.hop.LocalAddr() }

// RemoteAddr is the hop's.
func (d *Detour) RemoteAddr() net.Addr { return d.hop.RemoteAddr() }

// SetDeadline sets both deadlines, on what carries the visitor now. They do not follow
// it to a lane.
func (d *Detour) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

// SetReadDeadline is for Read, see SetDeadline.
func (d *Detour) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved {
		return d.lane.SetReadDeadline(t)
	}
	return d.hop.SetReadDeadline(t)
}

// SetWriteDeadline is for Write, see SetDeadline.
func (d *Detour) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == taken {
		return d.lane.SetWriteDeadline(t)
	}
	return d.hop.SetWriteDeadline(t)
}

var _ duplex.Conn = (*Detour)(nil)
