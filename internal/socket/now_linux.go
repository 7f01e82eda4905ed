package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func read(fd uintptr, p []byte) (int, error) { return call(unix.SYS_READ, fd, p) }

func write(fd uintptr, p []byte) (int, error) { return call(unix.SYS_WRITE, fd, p) }

func call(trap, fd uintptr, p []byte) (int, error) {
	n, _, err := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}

// Splice moves up to n bytes from one descriptor to another, one of which is a
// pipe. At the end of a stream it returns 0 without an error; where it would
// have to wait, [syscall.EAGAIN].
func Splice(from, to uintptr, n int) (int, error) {
	for {
		moved, _, err := syscall.RawSyscall6(unix.SYS_SPLICE, from, 0, to, 0, uintptr(n), unix.SPLICE_F_NONBLOCK)
		if err == 0 {
			return int(moved), nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}
