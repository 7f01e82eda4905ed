package duplex

import (
	"net"

	"keystay/internal/socket"
)

// Broken returns, without waiting and without taking anything, why no more can
// come from c, or nil where that is not known; see [Conn].
func Broken(c net.Conn) error { return broken(c) }

// Alive reports whether c can still carry something, as far as that is known
// without waiting: it was not reset, also if the reset has been read, and has
// not ended in both directions.
func Alive(c net.Conn) bool { return broken(c) == nil && !socket.Gone(c) }

// Ended reports, without waiting and without taking anything, whether the peer
// of c has ended its side or has reset c: also where bytes that came before are
// still unread, which hide the end from a Read. Where the system cannot tell it
// is false. A connection without a socket may have a method Ended() bool.
func Ended(c net.Conn) bool {
	inner := socket.Innermost(c)
	if e, ok := inner.(interface{ Ended() bool }); ok {
		return e.Ended()
	}
	return socket.IsTCP(inner) && socket.Ended(inner)
}
