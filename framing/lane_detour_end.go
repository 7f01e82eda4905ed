package framing

import (
	"net"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

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
