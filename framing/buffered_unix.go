//go:build unix

package framing

import (
	"os"
	"syscall"
)

// canTake says that a socket can be read and written without waiting.
const canTake = true

// fill reads from the socket once. An error is kept, as the system tells of a
// reset once: a Read that came next would find an end.
func (c *BufferedConn) fill(fd uintptr) bool {
	c.rest = nil
	for {
		n, err := syscall.Read(int(fd), c.buf[:])
		if err == syscall.EINTR {
			continue
		}
		switch {
		case n > 0:
			c.rest = c.buf[:n]
		case err != nil && err != syscall.EAGAIN:
			c.lost = os.NewSyscallError("read", err)
		}
		return true
	}
}

// drain writes to the socket once. It returns false to wait for room.
func (c *BufferedConn) drain(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), c.part)
		switch err {
		case nil:
			c.wrote, c.err = n, nil
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			c.err = nil
			return !c.wait
		default:
			c.err = os.NewSyscallError("write", err)
			return true
		}
	}
}
