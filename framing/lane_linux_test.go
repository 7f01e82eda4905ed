package framing_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/framing"
	"keystay/internal/testnet"
)

// Who pauses for some minutes, behind a lane that is full, keeps it: Linux counts
// a peer that takes nothing as one that does not answer.
func TestLaneOutlivesPause(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer a.Close()
	defer b.Close()
	framing.PrepareLane(a)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if pause := 5 * time.Minute; err != nil || ms != 0 && time.Duration(ms)*time.Millisecond < pause {
		t.Errorf("a lane whose peer takes nothing is cut after %d ms, want at least %v: %v", ms, pause, err)
	}
}
