//go:build unix

package socket_test

import (
	"bytes"
	"net"
	"syscall"
	"testing"

	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// descriptor returns two ends of a connection, the second one by its descriptor.
func descriptor(t *testing.T) (far *net.TCPConn, raw syscall.RawConn) {
	t.Helper()
	far, near := testnet.TCPPair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return far, raw
}

func TestReadAndWrite(t *testing.T) {
	far, raw := descriptor(t)
	buf := make([]byte, 100)
	raw.Control(func(fd uintptr) {
		if n, err := socket.Read(fd, buf); n != 0 || err != syscall.EAGAIN {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
	})

	far.Write([]byte("hello"))
	var n int
	var err error
	raw.Read(func(fd uintptr) bool {
		n, err = socket.Read(fd, buf)
		return err != syscall.EAGAIN
	})
	if err != nil || string(buf[:n]) != "hello" {
		t.Errorf("read %q, %v", buf[:n], err)
	}

	raw.Control(func(fd uintptr) { n, err = socket.Write(fd, []byte("welcome")) })
	if n != 7 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := far.Read(buf); err != nil || string(buf[:n]) != "welcome" {
		t.Errorf("the far end read %q, %v", buf[:n], err)
	}

	far.CloseWrite()
	raw.Read(func(fd uintptr) bool {
		n, err = socket.Read(fd, buf)
		return err != syscall.EAGAIN
	})
	if n != 0 || err != nil {
		t.Errorf("read at the end: %d, %v", n, err)
	}
}

// A full socket says so, after it has taken what it can.
func TestWriteToFullSocket(t *testing.T) {
	_, raw := descriptor(t)
	p := bytes.Repeat([]byte("x"), 64<<10)
	raw.Control(func(fd uintptr) {
		for {
			n, err := socket.Write(fd, p)
			if err == syscall.EAGAIN && n == 0 {
				return
			}
			if err != nil || n <= 0 {
				t.Errorf("write: %d, %v", n, err)
				return
			}
		}
	})
}

func TestErrorsOfASocketThatIsNoneAreTold(t *testing.T) {
	const none = ^uintptr(0)
	if n, err := socket.Read(none, make([]byte, 1)); n != 0 || err != syscall.EBADF {
		t.Errorf("read: %d, %v", n, err)
	}
	if n, err := socket.Write(none, make([]byte, 1)); n != 0 || err != syscall.EBADF {
		t.Errorf("write: %d, %v", n, err)
	}
}
