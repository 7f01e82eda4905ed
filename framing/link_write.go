package framing

import (
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/internal/socket"
	"keystay/internal/stack"
)

// All that a link writes goes through one hand, the writer: control records,
// frames without data, and what the streams have queued, one stream after the other. The writer works
// in rounds: what a round gathers is encrypted, and written in few large pieces.
//
// Whoever queues something calls pump. The writer is in one of three states:
//
//	idle   sender.writing is false. begin finds something to write, and makes
//	       its caller the writer.
//	brief  pump is the writer, in the goroutine of whoever has called it. It never
//	       waits, so that a small message is on its way without another
//	       goroutine. When all is written, end makes the writer idle. When the
//	       connection would have to wait, or after maxRounds, pump starts pumpOn,
//	       which is the writer from then on, and returns.
//	long   pumpOn is the writer, in a goroutine of its own, and may wait for the
//	       connection. When nothing is left, end makes the writer idle.
//
// After each end the writer looks again: what was queued meanwhile is its own to
// write, since a pump that finds a writer leaves it to that one.

// WriteTimeout is how long a write to the link may make no progress; where the link
// does not run on a [BufferedConn], how long it may take.
const WriteTimeout = 10 * time.Second

// maxQueued is how much of control records may wait to be written on a link, in
// bytes.
const maxQueued = 64 << 10

// maxLost is how much of LOST for names that the link had may wait beside them, in bytes:
// a relay may have to take back all of them at once, and a claim has paid for each. With
// all else that is gathered it is less than maxGathered.
const maxLost = MaxNames * lostSize

// lostSize is how large a LOST is at most.
const lostSize = 896

// errTooMuchQueued ends a link whose other side asks and does not read.
var errTooMuchQueued = protocolErrorf("more than %d bytes of answers wait to be taken", maxQueued)

// unsent is how much the system keeps of what was written to a link and not yet
// sent, in bytes: all that is written later waits behind it.
const unsent = 256 << 10

// gatherSize is how much is gathered before it is written, in bytes; with what
// one stream may have queued it fills a buffer of the BufferedConn.
const gatherSize = wireBuffer - maxOut - 2<<10

// maxFrames is how much of frames without data may wait, in bytes, before the end
// of another stream is counted: the link has no room for a new one meanwhile. A peer
// that opens and ends streams without reading must see that this side stops.
const maxFrames = 4 << 10

// maxRounds is how often pump looks for more before a goroutine goes on: its caller,
// the link's reader or a stream's Write, has something else to do.
const maxRounds = 16

// keepRound is how large sender.round may be while there is nothing in it.
const keepRound = 64

// A sender is what waits to be written on a link, and its writer.
type sender struct {
	link  *Link
	wire  *BufferedConn // below the link; nil where a write may wait
	round []*Stream     // the streams in the current round; only the writer uses it

	mu      sync.Mutex
	changed sync.Cond // there is room for frames, or the writer is idle
	writing bool      // there is a writer
	begun   bool      // START_MUX is queued
	control []byte    // the other control records
	lost    int       // how much of control is LOST for names that the link had, in bytes
	frames  []byte    // START_MUX, and SYN, FIN and UPD as MUX records
	ready   []*Stream // those that have something queued, the next first
}

// push puts a stream behind the others that have something queued.
func (d *sender) push(s *Stream) {
	d.mu.Lock()
	d.ready = append(d.ready, s)
	d.mu.Unlock()
}

// next takes out what is to be written next: frames without data, since no stream
// may overtake its SYN, or else the next stream.
func (d *sender) next() (frames []byte, s *Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.frames) > 0 {
		frames, d.frames = d.frames, nil
		d.changed.Broadcast()
		return frames, nil
	}
	if len(d.ready) == 0 {
		return nil, nil
	}
	s = d.ready[0]
	d.ready[0] = nil
	if d.ready = d.ready[1:]; len(d.ready) == 0 {
		d.ready = nil
	}
	return nil, s
}

// over wakes the goroutines that wait for room, on a link that is over.
func (d *sender) over() {
	d.mu.Lock()
	d.changed.Broadcast()
	d.mu.Unlock()
}

// wireOf returns the BufferedConn that c runs on, if it is one that can be
// written without waiting.
func wireOf(c net.Conn) *BufferedConn {
	b, ok := socket.Find[*BufferedConn](c)
	if !ok || b.raw == nil {
		return nil
	}
	return b
}

// queue queues a control record, for a caller that calls pump itself. It reports
// false when too much waits.
func (d *sender) queue(rec []byte) bool {
	if d.link.isOver() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.control)-d.lost+len(rec) > maxQueued {
		return false
	}
	d.control = append(d.control, rec...)
	return true
}

// sendLost is send of LOST for a name that the link had.
func (d *sender) sendLost(rec []byte) bool {
	if d.link.isOver() {
		return true
	}
	d.mu.Lock()
	d.lost += len(rec)
	d.control = append(d.control, rec...)
	fits := d.lost <= maxLost
	d.mu.Unlock()
	go d.pumpAside()
	return fits
}

// send is queue, and pumps on another goroutine: so it never blocks.
func (d *sender) send(rec []byte) bool {
	if !d.queue(rec) {
		return false
	}
	go d.pumpAside()
	return true
}

// takeControl takes out the control records.
func (d *sender) takeControl() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	control := d.control
	d.control, d.lost = nil, 0
	return control
}

// begin makes its caller the writer, if there is something to write and no other
// writer.
func (d *sender) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writing || len(d.control) == 0 && len(d.frames) == 0 && len(d.ready) == 0 {
		return false
	}
	d.writing = true
	return true
}

// become makes its caller the writer, and reports false if there is another one.
// With wait it waits until there is none.
func (d *sender) become(wait bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.writing {
		if !wait {
			return false
		}
		d.changed.Wait()
	}
	d.writing = true
	return true
}

// end makes the writer idle.
func (d *sender) end() {
	d.mu.Lock()
	d.writing = false
	d.changed.Broadcast()
	d.mu.Unlock()
}

// pump writes what waits. If there is a writer, it leaves that to the writer.
func (d *sender) pump() {
	for rounds := 0; d.begin(); rounds++ {
		if d.wire == nil || rounds == maxRounds {
			go d.pumpOn()
			return
		}
		more := d.gather()
		if !d.finish(0) || more {
			go d.pumpOn()
			return
		}
		d.end()
	}
}

// pumpAside is pump on a goroutine of its own.
func (d *sender) pumpAside() {
	defer d.link.handler.Panics.Catch("writing to a link", d.link.panicked)
	stack.Grow()
	d.pump()
}

// pumpOn is the writer, and may wait.
func (d *sender) pumpOn() {
	defer d.link.handler.Panics.Catch("writing to a link", d.link.panicked)
	for {
		for more := true; more; {
			more = d.gather()
			d.finish(WriteTimeout)
		}
		d.end()
		if !d.begin() {
			return
		}
	}
}

// gather begins or goes on with a round: it puts what waits to the connection, up to
// about gatherSize. It reports whether there may be more.
func (d *sender) gather() (more bool) {
	if d.wire != nil {
		d.wire.cork()
	}
	// Taken first and written last: GOAWAY_ACK must not overtake the SYN of a
	// stream that was opened before, nor may a stream.
	control := d.takeControl()
	for n := 0; n < gatherSize; {
		frames, s := d.next()
		if frames == nil {
			d.put(control)
			control = nil
		}
		switch {
		case frames != nil:
			d.put(frames)
			n += len(frames)
		case s != nil:
			n += s.writeOut()
			d.round = append(d.round, s)
		default:
			return false
		}
	}
	d.put(control)
	return true
}

// finish ends a round: it writes what was gathered. Without a limit it does not
// wait, and reports false if it would have to; then the round goes on.
func (d *sender) finish(limit time.Duration) (done bool) {
	if d.wire != nil {
		done, err := d.wire.uncork(limit)
		if err != nil {
			d.failed(err)
		} else if !done {
			return false
		}
	}
	for i, s := range d.round {
		d.round[i] = nil
		s.written()
	}
	if d.round = d.round[:0]; cap(d.round) > keepRound {
		d.round = nil
	}
	return true
}

// put writes whole records, for the writer. It reports false if the link
// is over, as an error makes it.
func (d *sender) put(b []byte) bool {
	if d.link.isOver() {
		return false
	}
	if len(b) == 0 {
		return true
	}
	if d.wire == nil {
		d.link.conn.SetWriteDeadline(time.Now().Add(WriteTimeout))
	}
	_, err := d.link.conn.Write(b)
	if err != nil {
		d.failed(err)
	}
	return err == nil
}

// write writes a whole record at once, and waits for it.
func (d *sender) write(rec []byte) error {
	d.become(true)
	d.link.conn.SetWriteDeadline(time.Now().Add(WriteTimeout))
	_, err := d.link.conn.Write(rec)
	d.link.conn.SetWriteDeadline(time.Time{})
	d.end()
	if err != nil {
		d.failed(err)
	}
	return err
}

// failed ends a link that cannot be written.
func (d *sender) failed(err error) { d.link.fail(fmt.Errorf("write to the link: %w", err)) }
