package memconn_test

import (
	"net"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"keystay/internal/memconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConnPassesNettest(t *testing.T) {
	// A buffer below nettest's own messages would deadlock its echo.
	for _, size := range []int{0, 1000} {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			a, b := memconn.Pipe(size)
			return a, b, func() { a.Close(); b.Close() }, nil
		})
	}
}
