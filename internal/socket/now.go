//go:build unix

package socket

import "syscall"

// Read, Write and Splice are calls that never wait, on sockets that do not block.
// Callers have the descriptor from a [syscall.RawConn], which waits.
//
// The Go scheduler is told of a system call that may wait, and gets another
// thread ready for it. These do not wait, so under Linux it is not told: with
// many small reads and writes, or few large ones, its part was a tenth of a
// relay's work.

// Read reads into p. At the end of the stream it returns 0 without an error;
// where there is nothing yet, [syscall.EAGAIN].
func Read(fd uintptr, p []byte) (n int, err error) { return again(fd, p, read) }

// Write writes what the socket takes of p. Where that is nothing it returns
// [syscall.EAGAIN].
func Write(fd uintptr, p []byte) (n int, err error) { return again(fd, p, write) }

// again calls f until no signal interrupts it. Together with an error it returns
// no bytes.
func again(fd uintptr, p []byte, f func(uintptr, []byte) (int, error)) (int, error) {
	for {
		n, err := f(fd, p)
		if err == nil {
			return n, nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}
