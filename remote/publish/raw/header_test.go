package raw_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"keystay/internal/memconn"
	"keystay/internal/testnet"
	"keystay/remote/publish/raw"
)

// firstHeader is the PROXY header that a service gets for a visitor from an address
// to an address, and what comes behind it.
func firstHeader(t *testing.T, target *raw.Target, from, to net.Addr) (*proxyproto.Header, string) {
	t.Helper()
	got, rest := make(chan *proxyproto.Header, 1), make(chan string, 1)
	addr := testnet.Serve(t, func(c net.Conn) {
		c.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Error(err)
		}
		b, _ := io.ReadAll(r)
		got <- h
		rest <- string(b)
	})
	target.Network, target.Addresses, target.TLS = "tcp", []string{addr.String()}, true
	visitor, served := memconn.Pipe(0)
	served.SetAddrs(to, from)
	go func() {
		io.WriteString(visitor, "hello")
		visitor.CloseWrite()
		io.ReadAll(visitor)
		visitor.Close()
	}()
	target.ServeConn(served)
	h := <-got
	if h == nil {
		t.FailNow()
	}
	return h, <-rest
}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// A service that asks for it learns where a visitor comes from. One whose address
// no visitor of the internet has, or has none, comes from a dummy address: never
// from this device.
func TestServiceLearnsTheVisitorsAddress(t *testing.T) {
	for _, c := range []struct {
		from, to net.Addr
		trust    bool
		want     string
	}{
		{tcpAddr("8.8.4.4:4711"), tcpAddr("1.1.1.1:443"), false, "8.8.4.4:4711 1.1.1.1:443"},
		{tcpAddr("[2606:4700::1]:4711"), tcpAddr("[2a00::1]:443"), false, "[2606:4700::1]:4711 [2a00::1]:443"},
		{tcpAddr("[::ffff:8.8.4.4]:4711"), tcpAddr("1.1.1.1:443"), false, "8.8.4.4:4711 1.1.1.1:443"},
		{tcpAddr("8.8.4.4:4711"), tcpAddr("[2a00::1]:443"), false, "8.8.4.4:4711 [2a00::1]:443"},
		{tcpAddr("8.8.4.4:4711"), &net.UnixAddr{Name: "@"}, false, "8.8.4.4:4711 0.0.0.0:0"},
		{tcpAddr("[2606:4700::1]:4711"), nil, false, "[2606:4700::1]:4711 [::]:0"},
		{tcpAddr("127.0.0.1:4711"), tcpAddr("1.1.1.1:443"), false, "192.0.0.8:0 1.1.1.1:443"},
		{tcpAddr("[fe80::1%eth0]:4711"), tcpAddr("1.1.1.1:443"), false, "192.0.0.8:0 1.1.1.1:443"},
		{tcpAddr("192.168.1.2:4711"), tcpAddr("1.1.1.1:443"), true, "192.168.1.2:4711 1.1.1.1:443"},
		{&net.UnixAddr{Name: "@"}, tcpAddr("1.1.1.1:443"), true, "192.0.0.8:0 1.1.1.1:443"},
		{&net.TCPAddr{}, &net.TCPAddr{}, true, "192.0.0.8:0 0.0.0.0:0"},
	} {
		for version := 1; version <= 2; version++ {
			h, rest := firstHeader(t, &raw.Target{ProxyProtocol: version, TrustPrivateAddresses: c.trust, Name: domain}, c.from, c.to)
			src, dst, ok := h.TCPAddrs()
			if got := fmt.Sprint(src, " ", dst); got != c.want || !ok || int(h.Version) != version || h.Command != proxyproto.PROXY || rest != "hello" {
				t.Errorf("version %d: %s by %v, then %q; want %s", h.Version, got, h.Command, rest, c.want)
			}
			tlvs, err := h.TLVs()
			if version == 2 && (err != nil || len(tlvs) != 1 || tlvs[0].Type != proxyproto.PP2_TYPE_AUTHORITY || string(tlvs[0].Value) != domain) {
				t.Errorf("TLVs %v, %v", tlvs, err)
			}
		}
	}
}

// Version 2 also says what is known of the visitor's TLS, where that was ended here.
func TestServiceLearnsOfTheVisitorsTLS(t *testing.T) {
	got := make(chan *proxyproto.Header, 1)
	target := tcpTarget(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Error(err)
		}
		got <- h
		io.Copy(io.Discard, r)
	})
	target.ProxyProtocol = 2
	tc, _ := publish(t, target).visitor("xmpp-client", "postgresql")
	defer tc.Close()
	h := <-got
	if h == nil {
		return
	}
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	for typ, want := range map[proxyproto.PP2Type]string{proxyproto.PP2_TYPE_AUTHORITY: domain, proxyproto.PP2_TYPE_ALPN: "postgresql"} {
		found := ""
		for _, tlv := range tlvs {
			if tlv.Type == typ {
				found = string(tlv.Value)
			}
		}
		if found != want {
			t.Errorf("TLV %#x is %q, want %q", typ, found, want)
		}
	}
	ssl, ok := tlvparse.FindSSL(tlvs)
	version, _ := ssl.SSLVersion()
	cipher, _ := ssl.SSLCipher()
	if !ok || !ssl.ClientSSL() || ssl.ClientCertConn() || ssl.Verified() || version != "TLSv1.3" || cipher == "" {
		t.Errorf("%+v, version %q, cipher %q", ssl, version, cipher)
	}
}

// A look at the service is no visitor of it, and says so.
func TestCheckIsNoVisitor(t *testing.T) {
	for version, want := range map[int][]byte{
		0: nil,
		1: []byte("PROXY UNKNOWN\r\n"),
		2: append(append([]byte(nil), proxyproto.SIGV2...), 0x20, 0, 0, 0),
	} {
		got := make(chan []byte, 1)
		target := tcpTarget(t, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			got <- b
		})
		target.ProxyProtocol = version
		if err := target.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if b := <-got; !bytes.Equal(b, want) {
			t.Errorf("version %d: %q", version, b)
		}
	}
}
