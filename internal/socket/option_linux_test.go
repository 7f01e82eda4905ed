package socket_test

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// option reads the option of a connection back.
func option(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

func TestUserTimeoutReachesTheSocket(t *testing.T) {
	a, b := testnet.TCPPair(t)
	socket.UserTimeout(a, 15*time.Second)
	socket.UserTimeout(tls.Client(b, nil), 7*time.Second)
	if da, db := option(t, a), option(t, b); da != 15*time.Second || db != 7*time.Second {
		t.Errorf("options are %v and %v, want 15s and 7s", da, db)
	}
	p, _ := net.Pipe()
	socket.UserTimeout(p, time.Second) // no socket: nothing happens
	p.Close()
	socket.UserTimeout(p, time.Second)
}

// A peer that is there but takes nothing is given up too.
func TestPeerThatNeverReads(t *testing.T) {
	a, _ := testnet.TCPPair(t)
	socket.UserTimeout(a, time.Second)
	a.SetDeadline(time.Now().Add(30 * time.Second))
	var err error
	for err == nil {
		_, err = a.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("write: %v, want ETIMEDOUT", err)
	}
}

// What a peer that never reads makes the system keep is bounded.
func TestUnsentIsBounded(t *testing.T) {
	a, b := testnet.TCPPair(t)
	b.SetReadBuffer(4 << 10)
	socket.Unsent(tls.Client(a, nil), 64<<10)
	a.SetDeadline(time.Now().Add(time.Second))
	n := 0
	for {
		k, err := a.Write(make([]byte, 16<<10))
		n += k
		if err != nil {
			break
		}
	}
	if n > 256<<10 {
		t.Errorf("%d bytes were taken for a peer that never reads", n)
	}
}

// Segments for a peer that is gone without a word are sent once more.
func TestRetransmitsAreCounted(t *testing.T) {
	a, b := testnet.TCPPair(t)
	if n := socket.Retransmits(a); n != 0 {
		t.Errorf("%d at the start", n)
	}
	raw, err := b.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// All that arrives from now on is dropped before TCP sees it.
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Write([]byte("x"))
	for end := time.Now().Add(10 * time.Second); socket.Retransmits(a) == 0; {
		if time.Now().After(end) {
			t.Fatal("what was lost is not counted")
		}
		runtime.Gosched()
	}
}
