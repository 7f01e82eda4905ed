//go:build !unix

package framing

// canTake says that a socket can be read and written without waiting.
const canTake = false

func (c *BufferedConn) fill(uintptr) bool { return true }

func (c *BufferedConn) drain(uintptr) bool { return true }
