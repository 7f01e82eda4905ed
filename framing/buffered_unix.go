//go:build unix

package framing

import (
	"os"
	"syscall"

	"keystay/internal/socket"
)

// canTake says that a socket can be read and written without waiting.
const canTake = true

// fill reads from the socket once. It returns false to wait for something. An
// error is kept, as the system tells of a reset once: a Read that came next
// would find an end.
func (c *BufferedConn) fill(fd uintptr) bool {
	n, err := socket.Read(fd, c.readBuf)
	switch err {
	case nil:
		c.readN = n
	case syscall.EAGAIN:
		return !c.readWait
	default:
		c.readErr = os.NewSyscallError("read", err)
	}
	return true
}

// drain writes to the socket once. It returns false to wait for room.
func (c *BufferedConn) drain(fd uintptr) bool {
	n, err := socket.Write(fd, c.part)
	switch err {
	case nil:
		c.wrote, c.err = n, nil
	case syscall.EAGAIN:
		c.err = nil
		return !c.wait
	default:
		c.err = os.NewSyscallError("write", err)
	}
	return true
}
