package socket_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// The window of a connection that has sent nothing yet is some segments; whether it
// lasts is what the connection's own congestion control says, or else the system.
func TestSendWindowIsThatOfTheConnection(t *testing.T) {
	a, _ := testnet.TCPPair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_, bySystem := socket.SendWindow(a)
	for _, name := range []string{"reno", "bbr"} {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) })
		if err != nil {
			t.Logf("%s: %v", name, err) // this system has no such
			continue
		}
		n, lasts := socket.SendWindow(a)
		if n < 1000 || n > 10<<20 {
			t.Errorf("%s: a window of %d bytes", name, n)
		}
		if name == "bbr" && !lasts {
			t.Error("the window of BBR does not last")
		}
		if last, known := socket.WindowsLast(); name == "reno" && known && !last && lasts {
			t.Errorf("the window of reno lasts; at first %v", bySystem)
		}
	}
	p, _ := net.Pipe()
	if n, lasts := socket.SendWindow(p); n != 0 || lasts {
		t.Errorf("of no TCP: %d, %v", n, lasts)
	}
	p.Close()
}
