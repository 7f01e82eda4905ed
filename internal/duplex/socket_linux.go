package duplex

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketError returns an error if one is pending on the socket c. It does not
// take it away, since a Read that came next would then say end of stream, and
// so cannot tell a reset from TCP's own timeout.
func socketError(c net.Conn) error {
	var err error
	control(c, func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		if n, _ := unix.Poll(p, 0); n == 1 && p[0].Revents&unix.POLLERR != 0 {
			err = syscall.ECONNRESET
		}
	})
	return err
}

// socketEnded reports whether the peer's end of stream, or its reset, has
// arrived at the socket c.
func socketEnded(c net.Conn) (ended bool) {
	control(c, func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, _ := unix.Poll(p, 0)
		ended = n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return ended
}

// socketQuiet returns how long the TCP connection c has neither sent nor
// received data, to a millisecond or a tick of the kernel's.
func socketQuiet(c net.Conn) (quiet time.Duration, ok bool) {
	control(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			quiet, ok = time.Duration(min(info.Last_data_recv, info.Last_data_sent))*time.Millisecond, true
		}
	})
	return quiet, ok
}

// control calls f with the descriptor of c, if it has one and is not closed.
func control(c net.Conn, f func(fd int)) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
