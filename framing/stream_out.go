package framing

import (
	"encoding/binary"
	"sync"
)

const (
	// frameHeader is the size of what is around the records of a stream: a MUX
	// record with a smux frame in it.
	frameHeader = recordHeader + smuxHeader
	// fullFrame is a frame as long as they get: just one TLS record of 16 KiB.
	fullFrame = frameHeader + smuxFrame
	// maxOut is how much data may be queued on a stream while more is written.
	maxOut = 4 * fullFrame
	// atOnce is how much less than a frame is worth no goroutine: Write itself
	// sees to it that it is written.
	atOnce = 8 << 10
	// worthFilling is how much room there is in a frame that is worth a DATA
	// record of its own.
	worthFilling = 1 << 10
)

// The sizes of the buffers of Stream.out in bytes. Most of what is sent is
// small, and when a link is slow each of its streams may hold one.
const (
	smallOut  = 4 << 10
	mediumOut = 2 * fullFrame
	largeOut  = maxOut + fullFrame
)

// The pools are shared by all links, as a buffer is held only as long as there
// is something in it.
var (
	smallOuts  = sync.Pool{New: func() any { return newOut(smallOut) }}
	mediumOuts = sync.Pool{New: func() any { return newOut(mediumOut) }}
	largeOuts  = sync.Pool{New: func() any { return newOut(largeOut) }}
)

func newOut(size int) *[]byte {
	b := make([]byte, 0, size)
	return &b
}

// outs returns the pool of the buffers that hold n bytes; above largeOut that is
// none.
func outs(n int) *sync.Pool {
	switch {
	case n <= smallOut:
		return &smallOuts
	case n <= mediumOut:
		return &mediumOuts
	case n <= largeOut:
		return &largeOuts
	}
	return nil
}

// growOut returns out with room for n bytes more.
func growOut(out []byte, n int) []byte {
	n += len(out)
	p := outs(n)
	if n <= cap(out) || p == nil {
		return out // append does it
	}
	b := append((*p.Get().(*[]byte))[:0], out...)
	putOut(out)
	return b
}

func putOut(b []byte) {
	if p := outs(cap(b)); p != nil && b != nil {
		p.Put(&b)
	}
}

// An outgoing is what a stream has to send: whole frames that wait to be written, and
// the credit for more. It is guarded by the stream's lock.
type outgoing struct {
	pool    *pool
	frames  []byte // that wait for writeOut
	header  int    // how much of frames is HEADER, which goes first in any case
	last    int    // where the last frame begins in frames
	taken   int    // what frames may grow to by memory of the pool: more than smallOut, or 0
	rst     rstState
	ready   bool // the stream is in sender.ready, or being written
	late    bool // it is in sender.ready, and nobody has to pump before Flush
	credit  int
	credits int64 // CREDIT records that came
	sent    int64 // bytes of DATA queued

	unused   bool  // no DATA was queued and no CREDIT came since giveBack looked
	returned int64 // RETURN records queued
}

// data appends as much of p, as DATA, as credit and room allow, and returns how
// much that was. Like each of its kind it says whose frames they are.
func (o *outgoing) data(id uint32, p []byte) int {
	total := 0
	for {
		room := fullFrame - (len(o.frames) - o.last)
		if len(o.frames) == 0 || room < recordHeader+worthFilling {
			room = smuxFrame
		}
		n := o.fit(min(len(p), room-recordHeader, o.credit, maxOut-len(o.frames)-frameHeader-recordHeader))
		if n <= 0 {
			return total
		}
		o.record(id, recData, p[:n])
		o.credit -= n
		o.sent += int64(n)
		o.unused = false
		total += n
		p = p[n:]
	}
}

// spareOut is what DATA leaves of a small buffer for records that need no room.
const spareOut = 64

// fit takes memory, so that n bytes of DATA fit, and returns how many do: where
// there is none, as many as in the buffer that there is, or in a small one. So a
// stream that has nothing queued can always queue a little, and its own writeOut
// wakes one that has.
func (o *outgoing) fit(n int) int {
	size := max(smallOut, o.taken)
	need := len(o.frames) + frameHeader + recordHeader + n + spareOut
	if n <= 0 || need <= size {
		return n
	}
	larger := mediumOut
	if need > mediumOut {
		larger = largeOut
	}
	if o.pool.takeAll(larger - size) {
		o.taken = larger
		return n
	}
	return n - (need - size)
}

// room returns how much data would take now.
func (o *outgoing) room() int {
	space := maxOut - len(o.frames) - 2*(frameHeader+recordHeader)
	if space < smallOut || o.pool.tight(largeOut) {
		space = max(smallOut, o.taken) - spareOut - len(o.frames) - 2*(frameHeader+recordHeader)
	}
	return min(o.credit, space)
}

// record appends a record: to the frame that is last there, or to a new one.
func (o *outgoing) record(id uint32, t recordType, payload []byte) {
	o.frames = growOut(o.frames, frameHeader+recordHeader+len(payload))
	if size := len(o.frames) - o.last; size == 0 || size+recordHeader+len(payload) > fullFrame {
		o.last = len(o.frames)
		o.frames = append(o.frames, byte(recMux), 0, 0, smuxVersion, smuxPSH, 0, 0)
		o.frames = binary.LittleEndian.AppendUint32(o.frames, id)
	}
	o.frames = appendRecord(o.frames, t, payload)
	f := o.frames[o.last:]
	binary.BigEndian.PutUint16(f[1:], uint16(len(f)-recordHeader))
	binary.LittleEndian.PutUint16(f[recordHeader+2:], uint16(len(f)-frameHeader))
}

// reset puts RESET in the place of all that waits, but for HEADER.
func (o *outgoing) reset(id uint32, code ResetCode) {
	o.frames, o.last = o.frames[:o.header], 0
	o.rst = rstQueued
	o.record(id, recReset, []byte{byte(code >> 8), byte(code)})
}

// credited takes CREDIT.
func (o *outgoing) credited(n uint32) error {
	if n > MaxCredit || o.credit+int(n) > MaxCredit {
		return protocolErrorf("more than %d bytes of credit", MaxCredit)
	}
	if o.credits++; o.credits > creditBurst+o.sent/creditStep+o.returned {
		return protocolErrorf("a flood of CREDIT")
	}
	o.credit += int(n)
	o.unused = false
	return nil
}

// take takes out what waits, for a writer that frees it.
func (o *outgoing) take() (frames []byte, taken int) {
	if o.rst == rstQueued {
		o.rst = rstPut
	}
	frames, taken = o.frames, o.taken
	o.frames, o.header, o.last, o.taken, o.late = nil, 0, 0, 0, false
	return frames, taken
}

// free gives back what take has returned. It needs no lock.
func (o *outgoing) free(frames []byte, taken int) {
	putOut(frames)
	if taken > 0 {
		o.pool.put(taken - smallOut)
	}
}

// drop throws away what waits.
func (o *outgoing) drop() { o.free(o.take()) }
