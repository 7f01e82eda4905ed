package duplex

import "net"

// Broken returns, without waiting and without taking anything, why no more can
// come from c, or nil where that is not known; see [Conn].
func Broken(c net.Conn) error { return broken(c) }

// Alive reports whether c can still carry something, as far as that is known
// without waiting: it was not reset, also if the reset has been read, and has
// not ended in both directions.
func Alive(c net.Conn) bool { return broken(c) == nil && !gone(c) }
