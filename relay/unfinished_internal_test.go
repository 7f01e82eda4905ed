package relay

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"keystay/sni"
)

// A farConn is a connection from an address, on which nothing comes.
type farConn struct {
	sni.Conn
	addr   net.Addr
	closed bool
}

func (c *farConn) RemoteAddr() net.Addr { return c.addr }

func (c *farConn) Close() error {
	c.closed = true
	return nil
}

func farFrom(address string) *farConn {
	return &farConn{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
}

// Networks that open connections all the time, of whatever kind, push out their own
// alone. Where no network has many, the oldest connection goes.
func TestGreedyNetworksPushOutTheirOwn(t *testing.T) {
	const limit = MinMemory / unfinishedPart
	for name, c := range map[string]struct {
		networks int
		spared   bool // the connection of another network
	}{"one": {1, true}, "16": {16, true}, "1000": {1000, false}} {
		for kind, size := range map[string]int{"silent": helloBuffer, "port 80": plainMemory} {
			t.Run(name+" "+kind, func(t *testing.T) {
				u := &unfinished{limit: limit}
				other := farFrom("2001:db8::1")
				p := u.begin(other, helloBuffer)
				var last *farConn
				for i := range 4000 {
					last = farFrom(fmt.Sprintf("10.%d.%d.%d", i%c.networks/256, i%c.networks%256, i/c.networks%256))
					if size == plainMemory {
						u.beginHere(last, size)
					} else {
						u.begin(last, size)
					}
				}
				if other.closed == c.spared {
					t.Errorf("that of another network is closed: %v", other.closed)
				}
				if last.closed {
					t.Error("the last one is closed")
				}
				if c.spared && p.here(tlsMemory) != nil {
					t.Error("what is spared cannot go on")
				}
				if used, peak, ended := u.usage(); peak > limit || used < limit/2 || ended == 0 {
					t.Errorf("%d bytes of %d, at most %d; %d had to go", used, limit, peak, ended)
				}
			})
		}
	}
}

// A connection that may not grow counts for what it did, and all is given back.
func TestConnectionThatMayNotGrowCountsOn(t *testing.T) {
	u := &unfinished{limit: 1 << 20}
	small, large := u.begin(farFrom("192.0.2.1"), helloBuffer), u.begin(farFrom("192.0.2.1"), helloBuffer)
	if large.grow(2<<20) == nil {
		t.Error("it grew beyond the limit")
	}
	if used, _, _ := u.usage(); used != 2*(unfinishedBase+helloBuffer) && used != unfinishedBase+helloBuffer {
		t.Errorf("%d bytes are counted", used)
	}
	small.end()
	large.end()
	if used, _, _ := u.usage(); used != 0 || len(u.near) != 0 || u.networks.sum != 0 {
		t.Errorf("%d bytes and %d networks are left", used, len(u.near))
	}
}
