package framing

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// frameBuffers holds buffers for what arrives of a frame, as long as it does.
var frameBuffers = sync.Pool{New: func() any { return new([smuxFrame]byte) }}

// A demux splits what arrives in MUX records into frames. Data goes to its stream
// at once, in the goroutine that reads the link: a stream takes all that comes, so
// nobody ever waits for another.
type demux struct {
	l    *Link
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
		return c.data(c.l.stream(id), length)
	case command == smuxPSH, command == smuxNOP && length == 0: // nothing sends these
		return c.l.control.take(recMux, c.l.now())
	case command == smuxFIN && length == 0:
		if s := c.l.stream(id); s != nil {
			s.cutOff()
		}
		return nil
	case command == smuxUPD && length == updLength:
		var ignored [updLength]byte
		return c.readFull(ignored[:])
	case command == smuxSYN && length == 0:
		return c.l.opens(id)
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
		n, err := c.l.nextMux()
		if err != nil {
			return 0, err
		}
		c.left = n
	}
	n, err := c.l.conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		return n, fmt.Errorf("read from the link: %w", noEOF(err))
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

// receive parses what has arrived for the stream.
func (s *Stream) receive(p []byte) error {
	r := &s.parse
	if r.phase == phaseCut {
		return nil
	}
	r.arrived += uint32(len(p))
	if step := r.arrived - r.updated; step >= updateStep || r.updated == 0 && step >= firstUpdate {
		r.updated = r.arrived
		s.link.sender.update(s.id, r.arrived)
		go s.link.pump()
	}
	r.wrote = false
	if err := r.feed(s, p); err != nil {
		return err
	}
	s.notice()
	return nil
}
