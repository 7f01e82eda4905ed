package framing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// DetourBytes is after how many bytes, both ways together, a remote can take a visitor
// from a hop no more: then the kernel carries it.
const DetourBytes = 64 << 20

// A detourPhase is where a visitor is that has come to one node and whose remote has its
// link at another.
type detourPhase uint8

const (
	onHop  detourPhase = iota
	taking             // TAKEN is being sent: nothing is written to the hop
	taken              // the lane has it, or is about to
	kept               // on the hop for good
	over               // reset or closed
)

// A Detour is a visitor's way over a hop, at the node that the visitor has come to. Its
// remote may take the visitor from there, see "Past a hop" in PROTOCOL.md: then the
// Detour goes on over the lane, each direction by itself, and the hop is closed. It is
// for [duplex.Copy], and has a Carrier.
//
// CloseWrite sends an end, Reset cuts hop and lane. Close closes both in good order.
type Detour struct {
	hop  duplex.Conn
	most int64 // bytes, see DetourBytes

	mu       sync.Mutex
	changed  sync.Cond // phase, from or writing is another
	phase    detourPhase
	lane     duplex.Conn // set in taken
	sent     int64       // bytes of the visitor that B has had, or will have, by the hop
	got      int64       // bytes that have come by the hop
	writing  bool        // a Write to the hop is under way
	shut     bool        // what goes by the hop has ended there
	ended    bool        // what comes has ended for good, on the hop
	moved    bool        // the hop has brought all, and the rest comes on the lane
	told     bool        // FROM has come: from and fromEnd are set
	from     int64       // after so many bytes the rest comes on the lane
	fromEnd  bool        // or there is none
	shutLane bool        // what goes by the lane has ended there
	closing  bool        // Close was called before FROM has come
	cause    error       // why it is over
}

// NewDetour makes a Detour over hop, a connection without TLS to the node that has the
// link, which it owns. Sent is how many bytes of the visitor that node has had already.
func NewDetour(hop duplex.Conn, sent int) *Detour {
	d := &Detour{hop: hop, most: DetourBytes, sent: int64(sent)}
	d.changed.L = &d.mu
	socket.Linger(hop, 0)
	return d
}

// Taken reports whether the remote has taken the visitor.
func (d *Detour) Taken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lane != nil
}

// take gives the visitor to the lane tc, and returns once the remote has said from where
// it goes on there. Without TAKEN nothing has changed; the caller then closes tc.
func (d *Detour) take(tc *tls.Conn, joined func()) error {
	conn, err := bare(tc)
	if err != nil {
		return err
	}
	offset, ended, err := d.pause()
	if err != nil {
		return err
	}
	tc.SetDeadline(time.Now().Add(WriteTimeout))
	if _, err := tc.Write(offsetRecord(recTaken, offset, ended)); err != nil {
		socket.Abort(conn) // not in good order, as that would refuse
		d.goOn(nil)
		return fmt.Errorf("write TAKEN: %w", err)
	}
	prepareLane(conn)
	d.goOn(conn)
	if joined != nil {
		joined()
	}
	offset, ended, err = readOffset(tc, recFrom)
	if err == nil {
		err = d.continues(offset, ended)
	}
	if err != nil {
		d.fail(err)
		return fmt.Errorf("read FROM: %w", err)
	}
	return nil
}

// pause stops what is written to the hop, and returns after how many bytes, and whether that
// was all. It is followed by goOn.
func (d *Detour) pause() (offset int64, ended bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase != onHop || d.shut && d.ended {
		return 0, false, ErrStreamOver
	}
	d.phase = taking
	if d.writing {
		d.hop.SetWriteDeadline(time.Unix(1, 0)) // a Write says how much it has written
		for d.writing && d.phase == taking {
			d.changed.Wait()
		}
		d.hop.SetWriteDeadline(time.Time{})
	}
	if d.phase != taking {
		return 0, false, ErrStreamOver
	}
	return d.sent, d.shut, nil
}

// goOn ends what pause began: with the lane the visitor is there, without it on the hop.
func (d *Detour) goOn(lane duplex.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changed.Broadcast()
	switch {
	case d.phase == over && lane != nil:
		socket.Abort(lane)
	case d.phase == over:
	case lane == nil:
		d.phase = onHop
	default:
		d.phase, d.lane = taken, lane
		if d.shut {
			d.shutLane = true
			lane.CloseWrite()
		}
	}
}

// continues is FROM: after offset bytes what comes goes on on the lane, or has ended.
func (d *Detour) continues(offset int64, ended bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.phase != taken:
		return ErrStreamOver
	case offset < d.got || d.ended && (offset != d.got || !ended):
		return protocolErrorf("FROM at %d, ended %v, after %d bytes of the hop, ended %v", offset, ended, d.got, d.ended)
	}
	d.told, d.from, d.fromEnd = true, offset, ended
	if !d.shut {
		d.shut = true
		d.hop.CloseWrite()
	}
	d.leaveHopLocked()
	d.changed.Broadcast()
	if d.closing {
		d.closeLocked()
	}
	return nil
}

// leaveHopLocked closes the hop once it has brought all, and has had all.
func (d *Detour) leaveHopLocked() {
	if d.offHopLocked() {
		socket.Linger(d.hop, -1)
		d.hop.Close()
	}
}

// offHopLocked reports whether nothing depends on the hop any more.
func (d *Detour) offHopLocked() bool { return d.phase == taken && d.told && (d.ended || d.moved) }

// keepLocked leaves the visitor on the hop for good once it has carried much.
func (d *Detour) keepLocked() {
	if _, ok := d.hop.(*net.TCPConn); ok && d.phase == onHop && d.sent+d.got >= d.most {
		d.phase = kept
	}
}

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

// CloseWrite passes on the visitor's end.
func (d *Detour) CloseWrite() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.phase == taking {
		d.changed.Wait()
	}
	switch {
	case d.phase == over:
		return d.cause
	case d.phase == taken:
		d.shutLane = true
		return d.lane.CloseWrite()
	}
	d.shut = true
	return d.hop.CloseWrite()
}

// Close closes hop and lane in good order. It does not wait; a remote that has taken
// the visitor has CloseLinger to say FROM, since a lane that is closed before that would
// be reset by it.
func (d *Detour) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == taken && !d.told {
		d.closing = true
		d.lane.SetReadDeadline(time.Now().Add(CloseLinger))
		return nil
	}
	d.closeLocked()
	return nil
}

func (d *Detour) closeLocked() {
	d.endLocked(net.ErrClosed, func(c duplex.Conn) {
		socket.Linger(c, -1)
		c.Close()
	})
}

// Reset cuts hop and lane.
func (d *Detour) Reset() error {
	d.fail(net.ErrClosed)
	return nil
}

// fail is Reset with the error that reads and writes then have.
func (d *Detour) fail(err error) {
	d.end(err, func(c duplex.Conn) { socket.Abort(c) })
}

func (d *Detour) failLocked(err error) error {
	if err != nil {
		d.endLocked(err, func(c duplex.Conn) { socket.Abort(c) })
	}
	return err
}

func (d *Detour) end(cause error, how func(duplex.Conn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endLocked(cause, how)
}

// endLocked ends hop and lane, once.
func (d *Detour) endLocked(cause error, how func(duplex.Conn)) {
	if d.phase == over {
		return
	}
	if !d.offHopLocked() {
		how(d.hop)
	}
	if d.lane != nil {
		how(d.lane)
	}
	d.phase, d.cause = over, cause
	d.changed.Broadcast()
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
