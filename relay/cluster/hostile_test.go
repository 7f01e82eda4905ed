package cluster

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

// raw is a connection to a node with a good certificate, of which the test writes each
// byte. It has said hello, and been answered.
func (r *rig) raw(n *testNode, as string) *tls.Conn {
	r.t.Helper()
	c, err := n.ln.Dial(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if r.creds[as] == nil {
		r.creds[as] = r.credentials(as)
	}
	conn := tls.Client(&framing.TLSRecordConn{Conn: c}, r.creds[as].client(n.Node, ProtocolNode))
	if _, err := conn.Write((&hello{node: as, epoch: 1}).record()); err != nil {
		r.t.Fatal(err)
	}
	if h, err := readHello(conn); err != nil || h.node != n.Node {
		r.t.Fatalf("%+v, %v", h, err)
	}
	go io.Copy(io.Discard, conn)
	return conn
}

func words(k kind, list ...string) []byte {
	return record(k, func(b *cryptobyte.Builder) {
		for _, name := range list {
			if k == kindUp {
				at := by(1, 5, 5)
				at.Name = name
				addUp(b, &at)
			} else {
				addText8(b, name)
			}
		}
	})
}

// Broken bytes end the connection that they come on, with what it has said, and nothing
// else.
func TestBrokenBytesEndTheConnectionAlone(t *testing.T) {
	at := by(1, 5, 5)
	at.Name, at.Runs = "n.relay.test", append(at.Runs, at.Runs...)
	broken := map[string][]byte{
		"an unknown record":      record(0x7f, func(*cryptobyte.Builder) {}),
		"a second HELLO":         (&hello{node: "c", epoch: 1}).record(),
		"a long record":          {byte(kindUp), 0xff, 0xff, 0xff},
		"an UP cut short":        {byte(kindUp), 0, 0, 3, 2, 'a', 'b'},
		"a name with a space":    words(kindUp, "a b"),
		"no name":                words(kindDown, ""),
		"two runs":               record(kindUp, func(b *cryptobyte.Builder) { addUp(b, &at) }),
		"a short PING":           record(kindPing, func(b *cryptobyte.Builder) { b.AddUint8(1) }),
		"a short PONG":           record(kindPong, func(b *cryptobyte.Builder) { b.AddUint8(1) }),
		"a CUT of everything":    cutRecord(&relay.Cut{}),
		"a CUT of no address":    record(kindCut, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0, 0, 1, 'x', 0, 0, 0, 0, 0}) }),
		"a short ORDER":          record(kindOrder, func(b *cryptobyte.Builder) { b.AddUint8(1) }),
		"a short ANSWER":         record(kindAnswer, func(b *cryptobyte.Builder) { b.AddUint8(1) }),
		"a TURN of an hour":      turnRecord("n.relay.test", framing.Run{}, time.Hour),
		"a REFUSED in the midst": (&refusal{code: 1}).record(),
	}
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		b.up("m.relay.test", by(2, 5, 5))
		for name, bytes := range broken {
			conn := r.raw(a, "c")
			conn.Write(words(kindUp, "n.relay.test"))
			synctest.Wait()
			a.finds(t, "n.relay.test", "c")
			conn.Write(bytes)
			synctest.Wait()
			a.finds(t, "n.relay.test", "")
			a.finds(t, "m.relay.test", "b")
			if n := a.Nodes(); len(n) != 2 || !n[1].Connected {
				t.Errorf("%s: nodes: %+v", name, n)
			}
		}
	})
}

// Records that a later version may send are skipped, and so are fields at the end.
func TestLaterVersionsAreUnderstood(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		conn := r.raw(a, "c")
		conn.Write(record(0x80, func(b *cryptobyte.Builder) { b.AddUint64(1) }))
		conn.Write(record(kindPing, func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, 40)) }))
		conn.Write(words(kindUp, "n.relay.test"))
		synctest.Wait()
		a.finds(t, "n.relay.test", "c")
	})
}

// A flood ends the connection, and so does a node that is silent, that says a byte now
// and then, or that takes nothing.
func TestFloodsAndSilenceEndTheConnection(t *testing.T) {
	flood := func(one []byte) func(*tls.Conn) {
		return func(conn *tls.Conn) {
			block := make([]byte, 0, len(one)*1000)
			for range 1000 {
				block = append(block, one...)
			}
			for range 1000 {
				if _, err := conn.Write(block); err != nil {
					return
				}
			}
		}
	}
	for name, do := range map[string]func(*tls.Conn){
		"pings":   flood((&ping{}).record()),
		"cuts":    flood(cutRecord(&relay.Cut{Name: "n.relay.test"})),
		"skipped": flood(record(0x80, func(*cryptobyte.Builder) {})),
		"silence": func(*tls.Conn) {},
		"trickle": func(conn *tls.Conn) {
			for range 10 {
				if _, err := conn.Write([]byte{byte(kindUp)}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a, b := r.pair()
				b.up("m.relay.test", by(2, 5, 5))
				conn := r.raw(a, "c")
				done := make(chan struct{})
				go func() { defer close(done); do(conn) }()
				calm(5 * time.Second)
				for _, n := range a.Nodes() {
					if n.Name == "c" {
						t.Error("it is still connected")
					}
				}
				a.finds(t, "m.relay.test", "b")
				<-done
			})
		})
	}
}

// More words for names than a node can have ends the connection, too.
func TestTooManyWordsAreAFlood(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		conn := r.raw(a, "c")
		a.Cluster.mu.Lock()
		a.peers["c"].words = meter{rate: 1, burst: 3, left: 3, last: time.Now()}
		a.Cluster.mu.Unlock()
		conn.Write(words(kindUp, "1.relay.test", "2.relay.test", "3.relay.test"))
		synctest.Wait()
		a.finds(t, "3.relay.test", "c")
		conn.Write(words(kindDown, "1.relay.test"))
		synctest.Wait()
		a.finds(t, "3.relay.test", "")
	})
}

// A node that reads nothing is given up within the time limit, and what waits for it is
// bounded by the names that there are.
func TestNodeThatReadsNothingIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		c, err := a.ln.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn := tls.Client(&framing.TLSRecordConn{Conn: c}, r.credentials("c").client("a", ProtocolNode))
		conn.Write((&hello{node: "c", epoch: 1}).record())
		if _, err := readHello(conn); err != nil {
			t.Fatal(err)
		}
		for i := range 4000 {
			a.up(strings.Repeat("n", 200)+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)), by(1, 5, 5))
		}
		for range 10 { // it says that it lives
			conn.Write((&ping{}).record())
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := a.Nodes(); len(n) != 1 {
			t.Errorf("nodes: %+v", n)
		}
	})
}

// A node whose certificate is another one's is refused by name.
func TestCertificateOfAnotherNodeIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		for as, code := range map[string]refusalCode{"d": refusedForeign, "a": refusedItself} {
			c, err := a.ln.Dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			conn := tls.Client(&framing.TLSRecordConn{Conn: c}, r.credentials("c").client("a", ProtocolNode))
			conn.Write((&hello{node: as, epoch: 1}).record())
			_, err = readHello(conn)
			if refused, ok := err.(*refusal); !ok || refused.code != code {
				t.Errorf("as %s: %v", as, err)
			}
			c.Close()
		}
	})
}

// Strangers that do no handshake are few, and are let go in time.
func TestStrangersAreFew(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		for range maxStrangersEach + 8 {
			c, err := a.ln.Dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		synctest.Wait()
		a.listener.mu.Lock()
		n := len(a.listener.conns)
		a.listener.mu.Unlock()
		if n != maxStrangersEach {
			t.Errorf("%d strangers", n)
		}
		calm(handshakeTimeout + time.Second)
		a.listener.mu.Lock()
		defer a.listener.mu.Unlock()
		if n := len(a.listener.conns); n != 0 {
			t.Errorf("%d strangers are left", n)
		}
	})
}

// A network has half of the places for strangers, however many addresses it has: a
// provider of IPv6 gives everybody 2^64 of them.
func TestStrangersOfOneNetworkAreFew(t *testing.T) {
	for net, at := range map[string]string{"2001:db8:1:2::/64": "2001:db8:1:3::1", "192.0.2.0/24": "192.0.3.1"} {
		l := &listener{}
		if !l.track(noListener{}) {
			t.Fatal("closed")
		}
		a := netip.MustParsePrefix(net).Addr()
		var last func()
		for range 200 {
			a = a.Next()
			for range maxStrangersEach {
				leave, ok := l.enter(&from{at: a})
				if !ok {
					break
				}
				last = leave
			}
		}
		if n := len(l.conns); n != maxStrangersNetwork || n != l.strangers[netip.MustParsePrefix(net)] {
			t.Errorf("%s: %d strangers", net, n)
		}
		if _, ok := l.enter(&from{at: netip.MustParseAddr(at)}); !ok {
			t.Errorf("%s: none gets in from elsewhere", net)
		}
		last()
		if _, ok := l.enter(&from{at: a}); !ok {
			t.Errorf("%s: none gets in for one that has left", net)
		}
	}
}

// A stranger cannot have a node keep a long message of a handshake, of which TLS takes 256
// KiB.
func TestStrangerIsHeardNoFurtherThanANode(t *testing.T) {
	n, _, _ := authority(t)
	n.init()
	end, far := memconn.Pipe(0)
	read := &counted{Conn: end}
	served := make(chan struct{})
	go func() {
		defer close(served)
		n.serve(read, func() {})
	}()
	own, err := tls.LoadX509KeyPair(n.Authority.dir.Files().Cert, n.Authority.dir.Files().Key)
	if err != nil {
		t.Fatal(err)
	}
	own.Certificate = append(own.Certificate, make([]byte, 4*maxShaken))
	c := tls.Client(far, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolNode}, Certificates: []tls.Certificate{own}})
	_ = c.Handshake() // which may be over before the other side has read it
	<-served
	c.Close()
	if n := read.n.Load(); n > maxShaken {
		t.Errorf("%d bytes were read", n)
	}
}

// counted counts what is read.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Where all places for strangers are taken, the network that has most gives one up to one that
// has fewer: some networks keep no node away.
func TestStrangersOfSomeNetworksLeavePlaces(t *testing.T) {
	l := &listener{}
	if !l.track(noListener{}) {
		t.Fatal("closed")
	}
	var all []*from
	enter := func(network string, n int) bool {
		a := netip.MustParsePrefix(network).Addr()
		for range n {
			a = a.Next()
			c := &from{at: a}
			if _, ok := l.enter(c); !ok {
				return false
			}
			all = append(all, c)
		}
		return true
	}
	if !enter("2001:db8:1:2::/64", maxStrangersNetwork) || !enter("2001:db8:2:2::/64", maxStrangersNetwork) {
		t.Fatal("two networks cannot take all places")
	}
	if !enter("192.0.2.0/24", 100) {
		t.Error("none gets in from a third network")
	}
	for i, c := range all {
		if want := i%maxStrangersNetwork < 50 && i < 2*maxStrangersNetwork; c.closed != want {
			t.Fatalf("connection %d is closed: %v", i, c.closed)
		}
	}
	if len(l.conns) != maxStrangers || len(l.strangers) != maxStrangers+5 {
		t.Errorf("%d strangers, of %d addresses, networks and sites", len(l.conns), len(l.strangers))
	}
	enter("192.0.2.128/25", 200) // of the same network as the third
	if n := l.strangers[netip.MustParsePrefix("192.0.2.0/24")]; n > maxStrangers/3+1 {
		t.Errorf("the third network has %d places", n)
	}
}

// One site of IPv6 has 65,536 networks, and a network of IPv4 some machines beside a node: with
// neither can all places be kept that a node needs, which has one address there or elsewhere.
func TestStrangersOfOneSiteLeavePlaces(t *testing.T) {
	t.Parallel()
	fill := func(next func(netip.Addr) netip.Addr, first string) *listener {
		l := &listener{}
		if !l.track(noListener{}) {
			t.Fatal("closed")
		}
		for a := netip.MustParseAddr(first); ; a = next(a) {
			_, ok := l.enter(&from{at: a})
			if !ok {
				break
			}
			if len(l.conns) == maxStrangers {
				break
			}
		}
		return l
	}
	network := func(a netip.Addr) netip.Addr { // the same host of the next one
		b := a.As16()
		if b[7]++; b[7] == 0 {
			b[6]++
		}
		return netip.AddrFrom16(b)
	}
	four := func(a netip.Addr) netip.Addr { // of one network
		b := a.As4()
		b[3] = 1 + b[3]%4
		return netip.AddrFrom4(b)
	}
	for _, c := range []struct {
		of   string
		l    *listener
		node string
		n    int
	}{
		{"512 networks of a site, and elsewhere", fill(network, "2001:db8:1::1"), "2001:db8:2::1", maxStrangersEach},
		{"512 networks of a site, and elsewhere in IPv4", fill(network, "2001:db8:1::1"), "192.0.2.1", maxStrangersEach},
		{"four addresses of the node's network", fill(four, "192.0.2.1"), "192.0.2.99", 40},
	} {
		all := len(c.l.conns)
		for i := range c.n {
			if _, ok := c.l.enter(&from{at: netip.MustParseAddr(c.node)}); !ok {
				t.Errorf("%s: a node does not get connection %d", c.of, i)
				break
			}
		}
		if len(c.l.conns) != all {
			t.Errorf("%s: %d connections, and %d before", c.of, len(c.l.conns), all)
		}
	}
}

// A noListener takes no connections.
type noListener struct{ net.Listener }

// A from is a connection that comes from an address.
type from struct {
	net.Conn
	at     netip.Addr
	closed bool
}

func (f *from) Close() error {
	f.closed = true
	return nil
}

func (f *from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.at, 1)) }
