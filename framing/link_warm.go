package framing

import (
	"net"
	"time"

	"keystay/internal/socket"
)

// A connection that has carried little sends little at once, and more with each round
// trip: the first long answer on a new link takes several of them. So a remote sends
// PADDING on a link that is idle, once, where the system keeps what it learns by that.

const (
	// WarmBytes is how much PADDING is sent on a link at most, in bytes: five pieces.
	// After them 1 MB takes one round trip more than on a link that has carried much;
	// without them it takes five more.
	WarmBytes = 31 * warmFirst
	// warmFirst is the first piece, in bytes: a little more than a new connection
	// sends at once (RFC 6928). Each further piece is twice as large, as the window
	// is by then.
	warmFirst = 16 << 10
	// warmMinor is the oldest minor version of a relay that is sent PADDING: for an
	// older one it would come near to a flood, beside many claims.
	warmMinor = 3
	// warmRTT is the shortest round trip for which it is worth that.
	warmRTT = 10 * time.Millisecond
)

// A sendWindow is how many bytes a connection sends before the other side
// acknowledges any, and whether it keeps that while it is idle.
type sendWindow func(net.Conn) (n int, lasts bool)

// warm is called at the first PONG. It sends PADDING, in pieces that go one by one with
// PING behind each, until there is enough, the window is large without it, or the way
// is full: then a round trip takes three times as long as the first.
func (l *Link) warm() {
	defer l.handler.Panics.Catch("warming a link", l.panicked)
	first := l.RTT()
	if first < warmRTT || l.peerMinor < warmMinor || l.handler.Warm == nil || !l.mayWarm() || !l.handler.Warm() {
		return
	}
	for sent, n := 0, warmFirst; sent < WarmBytes && l.mayWarm(); n *= 2 {
		n = min(n, WarmBytes-sent)
		start := l.now()
		if l.sender.write(padding(n)) != nil || l.Probe(SilenceLimit) != nil {
			return
		}
		sent += n
		if l.now()-start > 3*first {
			return
		}
	}
}

// mayWarm reports whether the link's window is worth growing.
func (l *Link) mayWarm() bool {
	window := l.handler.window
	if window == nil {
		window = socket.SendWindow
	}
	n, lasts := window(l.conn)
	return lasts && n < WarmBytes
}

// padding is records of n bytes in all, a multiple of what one of them has.
func padding(n int) (b []byte) {
	for len(b) < n {
		b = appendRecord(b, recPadding, make([]byte, maxControl-recordHeader))
	}
	return b
}
