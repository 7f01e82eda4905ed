package framing_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"

	"golang.org/x/net/nettest"

	"keystay/framing"
	"keystay/internal/testnet"
)

// tcpLinks returns a link as it is in the field: TLS over TCP, on loopback.
func tcpLinks(t testing.TB, rig *tlsRig) (relay, remote *framing.Link) {
	t.Helper()
	b, a := testnet.TCPPair(t)
	return links(t, tls.Server(framing.NewBufferedConn(a), rig.server), tls.Client(framing.NewBufferedConn(b), rig.client), framing.Handler{}, framing.Handler{})
}

// rounds is how many times the tests run whose findings depend on luck:
// KEYSTAY_ROUNDS, or 1.
func rounds() int {
	n, _ := strconv.Atoi(os.Getenv("KEYSTAY_ROUNDS"))
	return max(1, n)
}

// TestConnOverTLS is TestConn on a real link.
func TestConnOverTLS(t *testing.T) {
	rig := newTLSRig(t)
	for range rounds() {
		for name, opener := range map[string]bool{"opener": true, "acceptor": false} {
			t.Run(name, func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					relay, remote := tcpLinks(t, rig)
					v, d := open(t, relay, remote, "")
					stop := func() { v.Close(); d.Close(); relay.Close(); remote.Close() }
					if opener {
						return v, d, stop, nil
					}
					return d, v, stop, nil
				})
			})
		}
		if t.Failed() {
			return
		}
	}
}

// Closing a link over TLS is an end in good order for the other side, also while
// a stream is written that nobody reads.
func TestCloseOverTLS(t *testing.T) {
	relay, remote := tcpLinks(t, newTLSRig(t))
	v, d := open(t, relay, remote, "")
	done := make(chan error, 1)
	go func() { _, err := io.Copy(v, zeros{}); done <- err }()
	io.ReadFull(d, make([]byte, 1<<20))
	remote.Close()
	<-relay.Done()
	if err := <-done; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("write: %v", err)
	}
	broken(t, v)
	broken(t, d)
}
