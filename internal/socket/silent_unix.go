//go:build unix

package socket

import (
	"net"
	"syscall"
)

// Silent reports whether nothing unread has arrived at c: no byte, no end and no reset.
// It does not wait. It takes one byte of what there is: where it returns false, c can
// only be closed. A c that is no socket is silent.
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
