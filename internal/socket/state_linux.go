package socket

import (
	"math"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Failure returns an error if one is pending on the socket c. It does not
// take it away, since a Read that came next would then say end of stream, and
// so cannot tell a reset from TCP's own timeout.
func Failure(c net.Conn) error {
	var err error
	control(c, func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		if n, _ := unix.Poll(p, 0); n == 1 && p[0].Revents&unix.POLLERR != 0 {
			err = syscall.ECONNRESET
		}
	})
	return err
}

// Ended reports whether the peer's end of stream, or its reset, has arrived at
// the socket c, also where bytes that came before are still unread.
func Ended(c net.Conn) (ended bool) {
	control(c, func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, _ := unix.Poll(p, 0)
		ended = n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return ended
}

// Quiet returns how long the TCP connection c has neither sent nor
// received data, to a millisecond or a tick of the kernel's.
func Quiet(c net.Conn) (quiet time.Duration, ok bool) {
	control(c, func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			quiet, ok = time.Duration(min(info.Last_data_recv, info.Last_data_sent))*time.Millisecond, true
		}
	})
	return quiet, ok
}

// Unread returns how many bytes have arrived at the socket fd and are unread, or
// the largest int where that is not known.
func Unread(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	if err != nil {
		return math.MaxInt
	}
	return n
}
