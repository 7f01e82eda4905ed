package framing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// DetourBytes is after how many bytes, both ways together, a remote can take a visitor
// from a hop no more: then the kernel carries it.
const DetourBytes = 64 << 20

// FromTime is how long a remote that has taken a visitor may leave FROM out while nothing
// comes by the hop: before FROM a write may have to be done that waits for the visitor.
const FromTime = 5 * time.Minute

// errNoFrom is the error of a remote that does not say FROM.
var errNoFrom = errors.New("the remote does not say from where it goes on on the lane")

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
	stop := d.awaitFrom()
	offset, ended, err = readOffset(tc, recFrom)
	stop()
	if err == nil {
		err = d.continues(offset, ended)
	}
	if err != nil {
		d.fail(err)
		return fmt.Errorf("read FROM: %w", err)
	}
	return nil
}

// awaitFrom ends the visitor where FROM does not come within FromTime. Stop ends the wait.
func (d *Detour) awaitFrom() (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var wait *time.Timer
	got := d.got
	wait = time.AfterFunc(FromTime, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case d.phase != taken || d.told:
		case d.got > got:
			got = d.got
			wait.Reset(FromTime)
		default:
			_ = d.failLocked(errNoFrom)
		}
	})
	return func() { wait.Stop() }
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
