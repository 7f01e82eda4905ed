package framing

import (
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/internal/socket"
)

// All that a link writes goes through one hand, which is whoever holds
// Link.writeMu: control records, frames without data, and what the streams have
// queued, in turns. It is gathered, encrypted, and written in few large pieces.
//
// Who queues something calls pump. On a TCP connection pump never waits, so
// that a small message is on its way without another goroutine; where it would
// have to wait, a goroutine goes on, which lives as long as there is something
// to write.

// gatherSize is how much is gathered before it is written, in bytes; with what
// one stream may have queued it fills a buffer of the BufferedConn.
const gatherSize = wireBuffer - maxOut - 2<<10

// maxFrames is how much of frames without data may wait, in bytes, before the end
// of another stream is counted: the link has no room for a new one meanwhile. Who
// opens and ends streams without reading must see that this side stops.
const maxFrames = 4 << 10

// maxRounds is how often pump looks for more before a goroutine goes on: who
// calls it, be it the reader or a stream's Write, has something else to do.
const maxRounds = 16

// keepPut is how large sender.put may be while there is nothing in it.
const keepPut = 64

// A sender is what waits to be written on a link, but for control records.
type sender struct {
	wire *BufferedConn // below the link; nil where a write may wait
	put  []*Stream     // in the current round; of who holds writeMu

	mu     sync.Mutex
	room   sync.Cond
	begun  bool      // START_MUX is queued
	frames []byte    // START_MUX, and SYN, FIN and UPD as MUX records
	ready  []*Stream // in turn
}

// push puts a stream at the end of the turn.
func (d *sender) push(s *Stream) {
	d.mu.Lock()
	d.ready = append(d.ready, s)
	d.mu.Unlock()
}

// next takes out what is to be written next: frames without data, since no stream
// may overtake its SYN, or the stream whose turn it is.
func (d *sender) next() (frames []byte, s *Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.frames) > 0 {
		frames, d.frames = d.frames, nil
		d.room.Broadcast()
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

// over wakes who waits for room, on a link that is over.
func (d *sender) over() {
	d.mu.Lock()
	d.room.Broadcast()
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

// waits reports whether there is anything to write.
func (l *Link) waits() bool {
	l.mu.Lock()
	control := len(l.queued) > 0
	l.mu.Unlock()
	l.sender.mu.Lock()
	defer l.sender.mu.Unlock()
	return control || len(l.sender.frames) > 0 || len(l.sender.ready) > 0
}

// pump writes what waits, unless somebody does so already, who will look again.
func (l *Link) pump() {
	for rounds := 0; l.waits() && l.writeMu.TryLock(); rounds++ {
		if l.sender.wire == nil || rounds == maxRounds {
			go l.pumpOn()
			return
		}
		more := l.gather()
		if !l.flush(0) || more {
			go l.pumpOn()
			return
		}
		l.writeMu.Unlock()
	}
}

// pumpOn is pump for who may wait, and holds writeMu already.
func (l *Link) pumpOn() {
	for {
		for more := true; more; {
			more = l.gather()
			l.flush(WriteTimeout)
		}
		l.writeMu.Unlock()
		if !l.waits() || !l.writeMu.TryLock() {
			return
		}
	}
}

// flush writes what was gathered; without a limit it does not wait, and reports
// false if it would have to.
func (l *Link) flush(limit time.Duration) (done bool) {
	d := &l.sender
	if d.wire != nil {
		done, err := d.wire.flush(limit)
		if err != nil {
			l.writeFailed(err)
		} else if !done {
			return false
		}
	}
	for i, s := range d.put {
		d.put[i] = nil
		s.flushed()
	}
	if d.put = d.put[:0]; cap(d.put) > keepPut {
		d.put = nil
	}
	return true
}

// gather puts what waits to the connection, up to about gatherSize. It reports
// whether there may be more.
func (l *Link) gather() (more bool) {
	d := &l.sender
	if d.wire != nil {
		d.wire.hold()
	}
	// Taken first and written last: GOAWAY_ACK must not overtake the SYN of a
	// stream that was opened before, nor may a stream.
	l.mu.Lock()
	control := l.queued
	l.queued = nil
	l.mu.Unlock()
	for n := 0; n < gatherSize; {
		frames, s := d.next()
		if frames == nil {
			l.put(control)
			control = nil
		}
		switch {
		case frames != nil:
			l.put(frames)
			n += len(frames)
		case s != nil:
			n += s.flush()
			d.put = append(d.put, s)
		default:
			return false
		}
	}
	l.put(control)
	return true
}

// put writes whole records, for who holds writeMu. It reports false if the link
// is over, as an error makes it.
func (l *Link) put(b []byte) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	if len(b) == 0 {
		return true
	}
	if l.sender.wire == nil {
		l.conn.SetWriteDeadline(time.Now().Add(WriteTimeout))
	}
	_, err := l.conn.Write(b)
	if err != nil {
		l.writeFailed(err)
	}
	return err == nil
}

func (l *Link) writeFailed(err error) { l.fail(fmt.Errorf("write to the link: %w", err)) }
