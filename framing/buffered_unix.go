//go:build unix

package framing

import "syscall"

// canTake says that a socket can be read without waiting.
const canTake = true

// fill reads from the socket once. An error is found again by the next Read.
func (c *BufferedConn) fill(fd uintptr) bool {
	c.rest = nil
	for {
		n, err := syscall.Read(int(fd), c.buf[:])
		if err == syscall.EINTR {
			continue
		}
		if n > 0 {
			c.rest = c.buf[:n]
		}
		return true
	}
}
