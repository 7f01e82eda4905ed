//go:build !unix

package framing

// canTake says that a socket can be read without waiting.
const canTake = false

func (c *BufferedConn) fill(uintptr) bool { return true }
