package e2e

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/e2e/internal/world"
	"keystay/remote"
)

// lose makes the kernel drop all that arrives on c before TCP sees it, or no
// longer.
func lose(t *testing.T, c *net.TCPConn, lost bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if lost {
			drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestChattyVisitorMovesOnlyAfterLoss has a visitor ask and get answers. It stays on the link as
// long as no packet is lost there, and moves to a lane when some are.
func TestChattyVisitorMovesOnlyAfterLoss(t *testing.T) {
	t.Parallel()
	w := newLaneWorld(t, nil, remote.Config{})
	c, raw, err := w.Visit(w.name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for range 200 {
		mustFetch(t, c, 1)
	}
	if n := w.lanes(); n != 0 {
		t.Fatalf("%d visitors have moved on a path without loss", n)
	}

	var fromRemote []*net.TCPConn
	for _, c := range w.links {
		if c.LocalAddr().String() == w.path.Addr {
			fromRemote = append(fromRemote, c)
		}
	}
	for _, c := range fromRemote {
		lose(t, c, true)
	}
	fetched := make(chan error, 1)
	go func() { fetched <- fetch(c, 1) }()
	select {
	case err := <-fetched:
		t.Fatalf("an answer came whose packets were lost: %v", err)
	case <-time.After(time.Second): // it is sent once more after 200 ms
	}
	for _, c := range fromRemote {
		lose(t, c, false)
	}
	if err := <-fetched; err != nil {
		t.Fatal(err)
	}
	world.Eventually(t, world.Patience, "the visitor is on a lane", func() bool {
		for range 10 {
			mustFetch(t, c, 1)
		}
		return w.lanes() > 0
	})
	for range 10 {
		mustFetch(t, c, 1)
	}
}
