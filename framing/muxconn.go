package framing

import (
	"fmt"
	"io"
	"net"
)

// muxConn is the connection that smux runs on: the MUX records of a link.
type muxConn struct {
	l       *Link
	started bool // the reader has been handed over
	left    int  // unread bytes of the current MUX record
	head    [smuxHeader]byte
	pass    []byte // what smux is to read next
}

// newMuxConn makes the connection for smux, once in the life of a link.
func (l *Link) newMuxConn() *muxConn {
	l.handover = make(chan int, 1)
	return &muxConn{l: l}
}

// Read is called by smux's one reading goroutine, which it keeps: it handles the
// control records that it meets, and the data of the streams. It returns what
// only smux can handle.
func (c *muxConn) Read(p []byte) (int, error) {
	if !c.started {
		select {
		case c.left = <-c.l.handover:
			c.started = true
		case <-c.l.done:
			return 0, c.l.Err()
		}
	}
	if len(c.pass) == 0 {
		if err := c.receive(); err != nil {
			c.l.fail(err)
			return 0, err
		}
	}
	n := copy(p, c.pass)
	c.pass = c.pass[n:]
	return n, nil
}

// readFull fills p with bytes of smux's connection.
func (c *muxConn) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := c.read(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// read reads of the current MUX record, or of the next.
func (c *muxConn) read(p []byte) (int, error) {
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

// WriteBuffers is what smux calls in the place of Write: with the header of a
// frame and its payload. There are no frames but those that begin and end a
// stream: the streams write their data themselves.
//
// They wait for what else is to be written: a SYN for what its stream says
// first, and a FIN for anything, since it says nothing that END and RESET have
// not said. But not too many.
func (c *muxConn) WriteBuffers(v [][]byte) (int, error) {
	n := 0
	for _, b := range v {
		n += len(b)
	}
	d := &c.l.sender
	d.mu.Lock()
	for len(d.frames) > maxFrames && c.l.Err() == nil {
		d.room.Wait()
	}
	d.frames = append(d.frames, byte(recMux), byte(n>>8), byte(n))
	for _, b := range v {
		d.frames = append(d.frames, b...)
	}
	many := len(d.frames) > maxFrames/4
	d.mu.Unlock()
	if many {
		c.l.pump()
	}
	return n, c.l.Err()
}

func (c *muxConn) Write(p []byte) (int, error) { return c.WriteBuffers([][]byte{p}) }

// Close does nothing: the link closes smux, not the other way round.
func (c *muxConn) Close() error { return nil }

func (c *muxConn) LocalAddr() net.Addr  { return c.l.conn.LocalAddr() }
func (c *muxConn) RemoteAddr() net.Addr { return c.l.conn.RemoteAddr() }

var _ io.ReadWriteCloser = (*muxConn)(nil)
