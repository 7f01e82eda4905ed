//go:build unix

package socket

import (
	"net"
	"syscall"
)

// Silent reports whether nothing has arrived at c that nobody has read: no byte, no end
// and no reset. It does not wait, and takes one byte of what there is, so that c is of
// no use where the answer is no. A c that is no socket is silent.
func Silent(c net.Conn) bool {
	sc, ok := Innermost(c).(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := Read(fd, b[:])
		silent = err == syscall.EAGAIN
		return true
	})
	return err == nil && silent
}
