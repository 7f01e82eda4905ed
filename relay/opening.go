package relay

import (
	"errors"
	"net"
	"os"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
)

// What the relay waits for on a visitor's behalf, and for how long: see also
// HoldTimeout, TakeoverHold, handshakeWait and challengeTimeout. Nothing else is
// waited for before the copying begins.
//
// A visitor that leaves meanwhile is not waited for any longer. To the relay a
// visitor has left once its end of stream, or its reset, has arrived: a TLS
// client has to speak again after its hello (RFC 8446, section 2: Finished), so
// one that has ended its side before its hello has reached a remote cannot
// complete a handshake. From the moment that the remote has the whole hello an
// end is passed on as an end, and unansweredTimeout and lingerTimeout count.
const (
	// takeTimeout is how long a remote may take to take a whole hello that is
	// longer than the first credit of a stream.
	takeTimeout = 10 * time.Second
	// watchInterval is how often the relay looks whether a visitor that waits has
	// left. There is no goroutine for it: the one that waits looks.
	watchInterval = time.Second
	// unansweredTimeout is how long a visitor's connection is kept after the
	// visitor has ended its side, where the remote has not sent one byte: such a
	// handshake cannot be completed. It is more than a remote gives a handshake.
	unansweredTimeout = 20 * time.Second
)

var (
	errVisitorLeft = errors.New("the visitor has left")
	errNotTaken    = errors.New("the remote does not take the visitor's hello")
)

// open opens a stream at the session for c, with the hello. It waits, until a point in
// time and as long as the visitor is there, where the hello is longer than the
// stream's first credit.
func (sess *session) open(c net.Conn, h framing.Header, hello []byte, until time.Time) (*framing.Stream, error) {
	n := min(len(hello), framing.InitialCredit)
	stream, err := sess.link.Open(h, hello[:n])
	if err != nil {
		return nil, err
	}
	if err := writeWatched(stream, c, hello[n:], until); err != nil {
		stream.Reset()
		return nil, err
	}
	return stream, nil
}

// writeWatched writes p to the stream, until a point in time and as long as the
// visitor c is there.
func writeWatched(stream *framing.Stream, c net.Conn, p []byte, until time.Time) error {
	if len(p) == 0 {
		return nil
	}
	for {
		next := time.Now().Add(watchInterval)
		if next.After(until) {
			next = until
		}
		stream.SetWriteDeadline(next)
		n, err := stream.Write(p)
		if err == nil {
			return stream.SetWriteDeadline(time.Time{})
		}
		p = p[n:]
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case duplex.Ended(c):
			return errVisitorLeft
		case !time.Now().Before(until):
			return errNotTaken
		}
	}
}
