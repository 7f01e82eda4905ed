package framing

import (
	"encoding/binary"
	"sync"
)

// smux reads on whether or not anyone takes what it reads, up to its receive
// buffer. Here it is taken at once, unless the other side does not read: then
// taking waits for smux to write an update of its window. So that nobody can
// fill that buffer with data that there was no credit for, the frames are
// watched on their way to smux.

// The frames of smux: version, command, length (little-endian) and stream id.
const (
	smuxHeader = 8
	smuxSYN    = 0
	smuxPSH    = 2
	smuxNOP    = 3
)

const (
	// freeBacklog is what may always wait in smux, in bytes.
	freeBacklog = 1 << 20
	// backlogFactor is how many bytes may wait in smux for each byte of credit:
	// a record of one byte of data takes four.
	backlogFactor = 4
)

// A backlog counts what waits in smux for the streams of a link.
type backlog struct {
	mu      sync.Mutex
	total   int
	streams map[uint32]int // those that somebody takes from
}

// open begins to count for a stream.
func (b *backlog) open(id uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams == nil {
		b.streams = make(map[uint32]int)
	}
	if _, ok := b.streams[id]; !ok {
		b.streams[id] = 0
	}
}

// arrived counts n bytes and returns what waits in all. Data for other streams
// is thrown away by smux.
func (b *backlog) arrived(id uint32, n int) (total int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.streams[id]; ok {
		b.streams[id] += n
		b.total += n
	}
	return b.total
}

// taken counts n bytes as taken; those that came before open were not counted.
func (b *backlog) taken(id uint32, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.streams[id])
	if n > 0 {
		b.streams[id] -= n
		b.total -= n
	}
}

// close ends counting for a stream from which nobody takes any more.
func (b *backlog) close(id uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= b.streams[id]
	delete(b.streams, id)
}

// A frames follows the frames of smux in the bytes that the reader hands to it.
type frames struct {
	head  [smuxHeader]byte
	nhead int
	body  int // bytes of the payload that are still to come
}

// watch looks at the next bytes for smux.
func (f *frames) watch(l *Link, p []byte) error {
	for len(p) > 0 {
		if f.body > 0 {
			n := min(f.body, len(p))
			f.body -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.nhead:], p)
		p = p[n:]
		if f.nhead += n; f.nhead < smuxHeader {
			return nil
		}
		f.nhead = 0
		f.body = int(binary.LittleEndian.Uint16(f.head[2:]))
		if err := l.frame(f.head[1], binary.LittleEndian.Uint32(f.head[4:]), f.body); err != nil {
			return err
		}
	}
	return nil
}

// frame acts on a frame's header, before smux does.
func (l *Link) frame(command byte, id uint32, length int) error {
	switch {
	case command == smuxSYN && l.isRelay:
		return protocolErrorf("the remote opened a stream")
	case command == smuxSYN:
		l.backlog.open(id)
	case command == smuxPSH && length > 0:
		if total := l.backlog.arrived(id, length); total > freeBacklog && total > freeBacklog+backlogFactor*l.granted() {
			return protocolErrorf("data beyond the credit")
		}
	case command == smuxPSH, command == smuxNOP: // nothing sends these
		return l.control.take(recMux, l.now())
	}
	return nil
}

// granted is at least what the other side may send on all streams.
func (l *Link) granted() int {
	n := l.NumStreams() * InitialCredit
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return n + l.pool.used
}
