package relay_test

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// A visitor that the old process passes on takes none of the last descriptors: these are
// kept from it as from whoever comes by itself.
func TestAdoptedVisitorTakesNoneOfTheLastDescriptors(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test").echo("a")
	c, v := testnet.TCPPair(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	scarce := limit
	scarce.Cur = uint64(socket.Descriptor(v)) + 2
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &scarce); err != nil {
		t.Fatal(err)
	}
	r.srv.Adopt(v, bytes.Clone(helloFor(t, "a.relay.test")))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 7)
	if n, err := c.Read(b); err == nil {
		t.Errorf("it gets %q", b[:n])
	}
}
