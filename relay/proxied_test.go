package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// proxyAt is the address of a proxy that the relay believes.
const proxyAt = "127.0.9.1"

// proxiedRig is a boundRig behind a proxy, whose device tells each visitor its address.
func proxiedRig(t *testing.T, c limits.Config) *rig {
	t.Helper()
	r := boundRig(t, c)
	r.device(newIdentity(t), "who.relay.test").serve(func(s *framing.Stream) {
		fmt.Fprint(s, s.Header().Source, " at ", s.Header().Dest)
		io.Copy(io.Discard, s)
		s.Close()
	})
	r.srv.SetFront(relay.Front{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.9.0/24")}})
	return r.from(proxyAt)
}

// v2 is a header for a connection from an address.
func v2(t *testing.T, source string, tlv int) []byte {
	t.Helper()
	from := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source))
	to := &net.TCPAddr{IP: net.ParseIP("192.0.2.80"), Port: 443}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::80")
	}
	h := proxyproto.HeaderProxyFromAddrs(2, from, to)
	if tlv > 0 {
		h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, tlv)}})
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A proxy that is listed says who is behind it, in either version and however it is
// sent; its own connections are its own.
func TestListedProxySaysWhoIsBehindIt(t *testing.T) {
	r := proxiedRig(t, limits.Config{})
	hello := helloFor(t, "who.relay.test")
	for name, c := range map[string]struct{ header, want string }{
		"version 2":           {string(v2(t, "203.0.113.7:4711", 0)), "203.0.113.7:4711 at 192.0.2.80:443"},
		"version 2, IPv6":     {string(v2(t, "[2001:db8::7]:4711", 0)), "[2001:db8::7]:4711 at [2001:db8::80]:443"},
		"version 2 with more": {string(v2(t, "203.0.113.7:4711", 3000)), "203.0.113.7:4711 at 192.0.2.80:443"},
		"version 1":           {"PROXY TCP4 203.0.113.8 192.0.2.80 1 443\r\n", "203.0.113.8:1 at 192.0.2.80:443"},
		"version 1, IPv6":     {"PROXY TCP6 2001:db8::8 2001:db8::80 1 443\r\n", "[2001:db8::8]:1 at [2001:db8::80]:443"},
		"nginx, both":         {"PROXY TCP6 203.0.113.8 192.0.2.80 1 443\r\n", "203.0.113.8:1 at 192.0.2.80:443"},
		"version 1, unknown":  {"PROXY UNKNOWN\r\n", proxyAt},
		"version 2, its own":  {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", proxyAt},
	} {
		for _, pieces := range []bool{false, true} {
			conn := r.dial()
			if whole := append([]byte(c.header), hello...); pieces {
				for i := range 40 {
					conn.Write(whole[i : i+1])
				}
				conn.Write(whole[40:])
			} else {
				conn.Write(whole)
			}
			b := make([]byte, len(c.want))
			if _, err := io.ReadFull(conn, b); string(b) != c.want || err != nil {
				t.Errorf("%s, in pieces %v: %q, %v; want %s", name, pieces, b, err, c.want)
			}
			conn.Close()
		}
	}
}

// From a listed address nothing is taken without a header, nor with one that is broken
// or too long; from elsewhere no header is believed.
func TestProxyHeaderIsRequiredThereAndNowhereElse(t *testing.T) {
	r := proxiedRig(t, limits.Config{})
	hello := string(helloFor(t, "who.relay.test"))
	for name, first := range map[string]string{
		"no header":           hello,
		"HTTP":                "GET / HTTP/1.1\r\nHost: who.relay.test\r\n\r\n",
		"too long, version 2": string(v2(t, "203.0.113.7:4711", 4096)) + hello,
		"too long, version 1": "PROXY TCP4 203.0.113.8 192.0.2.80 1 " + strings.Repeat("0", 80) + "443\r\n" + hello,
		"a port too high":     "PROXY TCP4 203.0.113.8 192.0.2.80 1 65536\r\n" + hello,
		"a half":              "PROXY TCP4 203.0",
		"another version":     "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00" + hello,
		"nothing":             "",
	} {
		c := r.dial()
		io.WriteString(c, first)
		c.CloseWrite()
		t.Run(name, func(t *testing.T) { closed(t, c) })
	}
	r.from("127.0.10.1")
	c := r.dial()
	c.Write(append(v2(t, "203.0.113.7:4711", 0), hello...))
	closed(t, c)
	c = r.dial()
	io.WriteString(c, hello)
	gets(t, c, "127.0.10.1:")
	r.waitForLog("a connection from a proxy was closed")
	if n := strings.Count(r.log.String(), "a connection from a proxy was closed"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
}

// Limits and bans are for who is behind the proxy, and not for the proxy.
func TestWhoIsBehindAProxyIsCountedAndBanned(t *testing.T) {
	r := proxiedRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Connections: 1, ConnectionRate: noRate}})
	hello := helloFor(t, "a.relay.test")
	visit := func(source string) conn {
		c := r.dial()
		c.Write(append(v2(t, source, 0), hello...))
		return c
	}
	first, second := visit("203.0.113.1:1"), visit("203.0.113.2:1")
	gets(t, first, "a:")
	gets(t, second, "a:"+string(hello))
	closed(t, visit("203.0.113.1:2"))
	if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "203.0.113.3"}); err != nil {
		t.Fatal(err)
	}
	gets(t, visit("203.0.113.3:1"), "\x15\x03\x03\x00\x02\x02\x31")
	r.srv.Cut(relay.Cut{Addresses: netip.MustParsePrefix("203.0.113.2/32")})
	closed(t, second)
	gets(t, first, string(hello))
	first.Close()
}

// A remote behind a proxy has its own address for the operator.
func TestRemoteBehindAProxyHasItsOwnAddress(t *testing.T) {
	r := proxiedRig(t, limits.Config{})
	dial := r.dial
	r.dial = func() conn {
		c := dial()
		c.Write(v2(t, "203.0.113.9:9", 0))
		return c
	}
	r.device(newIdentity(t), "b.relay.test").echo("b")
	r.reaches("b.relay.test", "b")
	list, _, err := r.srv.Remotes(relay.Which{Address: netip.MustParseAddrPort("203.0.113.9:9")}, "", 10)
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Port 80 takes the header, too, and ends in good order with connections that have not
// sent it yet.
func TestPort80TakesProxyHeaders(t *testing.T) {
	r := proxiedRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Connections: 1, ConnectionRate: noRate}})
	_, addr := r.plain()
	public := r.public
	r.public = addr
	if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "203.0.113.3"}); err != nil {
		t.Fatal(err)
	}
	for source, status := range map[string]string{"203.0.113.3:1": "403", "203.0.113.4:1": "308"} {
		c := r.dial()
		c.Write(append(v2(t, source, 0), "GET / HTTP/1.1\r\nHost: a.relay.test\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n"...))
		if b, err := io.ReadAll(c); !bytes.HasPrefix(b, []byte("HTTP/1.1 "+status)) || err != nil {
			t.Errorf("%s: %.60q, %v; want %s", source, b, err, status)
		}
	}
	c := r.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n")
	closed(t, c)
	late := r.dial()
	io.WriteString(late, "PROXY ")
	r.public = public
	r.from("127.0.10.1").reaches("a.relay.test", "a")
	r.srv.Close()
	closed(t, late)
}

// A visitor that the old process passes on keeps its address in the new one.
func TestAdoptedVisitorKeepsItsAddress(t *testing.T) {
	r := proxiedRig(t, limits.Config{})
	old := newServer(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.9.0/24")}})
	})
	old.listen()
	holder := old.device(newIdentity(t), "who.relay.test")
	holder.Close()
	old.waitForLog("remote disconnected")
	c := old.from(proxyAt).dial()
	c.Write(append(v2(t, "203.0.113.7:4711", 0), helloFor(t, "who.relay.test")...))
	for start := time.Now(); old.srv.Routing() == 0; runtime.Gosched() { // until it is accepted
		if time.Since(start) > patience {
			t.Fatal("it is not accepted")
		}
	}
	var passed sync.WaitGroup
	err := old.srv.HandOver(t.Context(), func(c net.Conn, first []byte) error {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return err
		}
		defer f.Close()
		dup, err := net.FileConn(f)
		if err == nil {
			passed.Go(func() { r.srv.Adopt(dup, bytes.Clone(first)) })
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	gets(t, c, "203.0.113.7:4711 at ")
	c.Close()
	passed.Wait()
}
