package limits_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/relay/limits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// conn is a connection from an address, which is not really there.
type conn struct {
	net.Conn
	from net.TCPAddr
	cut  bool
}

func from(addr string) *conn {
	return &conn{from: net.TCPAddr{IP: net.ParseIP(addr), Port: 5000}}
}

func (c *conn) RemoteAddr() net.Addr { return &c.from }
func (c *conn) Close() error         { c.cut = true; return nil }

// come connects from an address and expects a reason.
func come(t *testing.T, a *limits.Addresses, addr string, want limits.Reason) *limits.Connection {
	t.Helper()
	n, why := a.Connect(from(addr))
	if why != want {
		t.Fatalf("a connection from %s is %v, want %v", addr, why, want)
	}
	return n
}

func every(n int, per time.Duration) limits.Rate { return limits.Rate{Count: n, Per: per} }

func addresses(c limits.Address) *limits.Addresses {
	a := new(limits.Addresses)
	a.Set(limits.Config{Address: c})
	return a
}

var none = limits.Rate{Count: -1}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
