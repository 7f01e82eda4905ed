package framing

import (
	"errors"
	"io"
	"net"
	"time"

	"keystay/internal/socket"
)

// Done is closed when the link is over; Err then says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err returns nil while the link is up, and then why it ended: [ErrClosed]
// after Close, io.EOF when the other side closed it in good order, [ErrSilent],
// an error that wraps [ErrProtocol], or that of the connection.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Ending says how a link has ended, for people: it puts what [Link.Err] returned
// into words.
func Ending(err error) string {
	switch {
	case err == nil:
		return "it has not ended"
	case errors.Is(err, ErrClosed):
		return "closed by this side"
	case err == io.EOF:
		return "closed by the other side"
	}
	return err.Error()
}

// Close ends the link and cuts its streams.
func (l *Link) Close() error {
	l.fail(ErrClosed)
	return nil
}

// isOver reports whether the link has ended. It may still be telling the other side
// why.
func (l *Link) isOver() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// cause is why the link ended, if it did, else err. A link that the other side
// closed in good order is still no end of a stream in it.
func (l *Link) cause(err error) error {
	if lerr := l.Err(); lerr != nil && lerr != io.EOF {
		return lerr
	}
	return err
}

// fail ends the link once. What was queued is not written any more, except
// that a protocol violation is told to its author.
func (l *Link) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	close(l.done)
	if l.over != nil {
		go l.over()
	}
	l.mu.Unlock()

	l.pulse.stop()
	l.returns.stop()
	l.asks.linkLost(err)
	l.claims.linkLost()
	if errors.Is(err, ErrProtocol) && l.sender.become(false) {
		g := GoAway{Code: GoAwayProtocol, Text: err.Error()}
		l.conn.SetWriteDeadline(time.Now().Add(time.Second))
		l.conn.Write(g.record())
		l.sender.end()
	}
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrProtocol) {
		l.conn.Close() // in good order, for the other side's log
	} else {
		abandon(l.conn)
	}
	l.sender.over()
	go l.cutStreams()
}

// errPanicked is why a link ended on which this program has made a mistake.
var errPanicked = errors.New("a mistake in this program")

// panicked ends a link on which this program has made a mistake. The locks of this
// link may be held for ever. So its connection is reset before any of them is taken,
// and they are taken on a goroutine that nobody waits for.
func (l *Link) panicked() {
	socket.Abort(l.conn)
	go l.fail(errPanicked)
}

// cutStreams ends the streams of a link that is over, and drops what they have
// queued.
func (l *Link) cutStreams() {
	defer l.handler.Panics.Catch("ending the streams of a link", func() {})
	for _, s := range l.streams.snapshot() {
		s.lost()
	}
	l.sender.pump()
}

// abandon closes a connection that has failed. It begins with the socket
// underneath, since the Close of TLS may wait seconds for an alert to be
// written.
func abandon(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		abandon(t.NetConn())
	}
	c.Close()
}
