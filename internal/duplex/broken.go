package duplex

import "net"

// Broken returns, without waiting and without taking anything, why no more can
// come from c, or nil where that is not known; see [Conn].
func Broken(c net.Conn) error { return broken(c) }
