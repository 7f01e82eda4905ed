package framing

import (
	"encoding/binary"
	"fmt"
	"sync"

	"keystay/internal/socket"
)

// The session speaks smux version 2: frames that begin and end a stream, those of
// data, and those that tell a window. A peer may run smux's own code, see
// smux_peer_test.go. It does not run here: it passes each frame from goroutine to
// goroutine, and lets a peer send more than its window. docs/smux.md has what that
// would cost.
const (
	smuxVersion = 2
	// smuxFrame makes a full smux frame (8 bytes of header) with the MUX record
	// around it just one TLS record of 16 KiB.
	smuxFrame = 16<<10 - recordHeader - smuxHeader
	// smuxWindow is smux's own window for a stream. It is above maxWindow and the
	// record headers in it, so that only our credit ever limits a stream.
	smuxWindow = 2 << 20
)

// The frames of smux: version, command, length (little-endian) and stream id.
const (
	smuxHeader = 8
	smuxSYN    = 0
	smuxFIN    = 1
	smuxPSH    = 2
	smuxNOP    = 3
	smuxUPD    = 4
	updLength  = 8
)

// When UPD is sent, for a peer that keeps to smux's window: after firstUpdate bytes
// of a stream have arrived, and then each time that updateStep more have.
const (
	updateStep  = smuxWindow / 2
	firstUpdate = 64 << 10
)

// frameBuffers holds buffers for what arrives of a frame, as long as it does.
var frameBuffers = sync.Pool{New: func() any { return new([smuxFrame]byte) }}

// A demux splits what arrives in MUX records into frames. Data goes to its stream
// at once, in the goroutine that reads the link: a stream takes all that comes, so
// nobody ever waits for another.
type demux struct {
	r    *reader
	left int // unread bytes of the current MUX record
	head [smuxHeader]byte
}

// receive takes the frames that begin in a MUX record of n bytes.
func (c *demux) receive(n int) error {
	for c.left = n; c.left > 0; {
		if err := c.frame(); err != nil {
			return err
		}
	}
	return nil
}

func (c *demux) frame() error {
	if err := c.readFull(c.head[:]); err != nil {
		return err
	}
	length := int(binary.LittleEndian.Uint16(c.head[2:]))
	id := binary.LittleEndian.Uint32(c.head[4:])
	if c.head[0] != smuxVersion {
		return protocolErrorf("a frame of smux version %d", c.head[0])
	}
	switch command := c.head[1]; {
	case command == smuxPSH && length > 0:
		return c.data(c.r.link.streams.get(id), length)
	case command == smuxPSH, command == smuxNOP && length == 0: // nothing sends these
		return c.r.count(recMux)
	case command == smuxFIN && length == 0:
		if s := c.r.link.streams.get(id); s != nil {
			s.cutOff()
		}
		return nil
	case command == smuxUPD && length == updLength:
		var ignored [updLength]byte
		return c.readFull(ignored[:])
	case command == smuxSYN && length == 0:
		return c.r.link.streams.opens(id)
	}
	return protocolErrorf("smux command %d with %d bytes", c.head[1], length)
}

// readFull fills p with bytes of the session.
func (c *demux) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := c.read(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// read reads of the current MUX record, or of the next: a frame may go on there.
func (c *demux) read(p []byte) (int, error) {
	if c.left == 0 {
		n, err := c.r.nextMux()
		if err != nil {
			return 0, err
		}
		c.left = n
	}
	n, err := c.r.link.conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		return n, fmt.Errorf("read from the link: %w", socket.NoEOF(err))
	}
	return n, nil
}

// data reads the payload of a frame and hands it to its stream. What is for none
// is thrown away.
func (c *demux) data(s *Stream, length int) error {
	buf := frameBuffers.Get().(*[smuxFrame]byte)
	defer frameBuffers.Put(buf)
	for length > 0 {
		n, err := c.read(buf[:min(length, len(buf))])
		length -= n
		if err == nil && s != nil {
			err = s.receive(buf[:n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start queues START_MUX, once, before the first SYN.
func (d *sender) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.begun {
		d.begun = true
		d.frames = appendRecord(d.frames, recStartMux, []byte{smuxVersion})
	}
}

// syn queues a SYN, which goes along with what its stream says first. It waits
// for nothing: a stream stays one of the link's MaxStreams until what it has queued
// is written, its SYN before that, so that no more than MaxStreams wait.
func (d *sender) syn(id uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frameLocked(smuxSYN, id)
}

// fin queues a FIN, and waits for room as long as the link is up.
func (d *sender) fin(id uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.frames) > maxFrames && !d.link.isOver() {
		go d.pumpAside()
		d.changed.Wait()
	}
	d.frameLocked(smuxFIN, id)
}

// tryFIN queues a FIN, if there is room. It goes along with what is written next,
// since it says nothing that END and RESET have not said.
func (d *sender) tryFIN(id uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.frames) > maxFrames {
		return false
	}
	d.frameLocked(smuxFIN, id)
	return true
}

// update sends an UPD: so many bytes of the stream were taken in all.
func (d *sender) update(id, taken uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frameLocked(smuxUPD, id, taken, smuxWindow)
	go d.pumpAside()
}

func (d *sender) frameLocked(command byte, id uint32, payload ...uint32) {
	n := byte(4 * len(payload))
	d.frames = append(d.frames, byte(recMux), 0, smuxHeader+n, smuxVersion, command, n, 0)
	d.frames = binary.LittleEndian.AppendUint32(d.frames, id)
	for _, v := range payload {
		d.frames = binary.LittleEndian.AppendUint32(d.frames, v)
	}
}
