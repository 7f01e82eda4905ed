package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"keystay/e2e/internal/pebble"
	"keystay/internal/testca"
	"keystay/sni"
)

// The two real programs, with something in between.
func TestRemoteReachesItsRelayThroughWhatIsInBetween(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(*testing.T, *outside){
		"ALPN stripped":               alpnStripped,
		"unknown ALPN reset":          alpnReset,
		"HTTP proxy":                  throughHTTPProxy,
		"SOCKS5 proxy":                throughSOCKS5,
		"no proxy":                    withoutProxy,
		"large hellos lost":           largeHellosLost,
		"hints in the log":            hintsInTheLog,
		"wrong proxy variable":        wrongProxyVariable,
		"TLS ended, trusted":          tlsEndedTrusted,
		"TLS ended, trusted, HTTP":    tlsEndedTrustedHTTP,
		"TLS ended, nobody trusts it": tlsEndedUntrusted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, newOutside(t))
		})
	}
}

// A path that loses first records over 1,200 bytes, without a word, still lets a
// remote through, and visitors.
func largeHellosLost(t *testing.T, o *outside) {
	m := newMiddlebox(t, func(m *middlebox, c *net.TCPConn) {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		if binary.BigEndian.Uint16(head[3:]) > 1200 {
			m.note("large")
			io.Copy(io.Discard, c)
			return
		}
		m.note("small")
		far, err := net.Dial("tcp", o.public)
		if err != nil {
			return
		}
		far.Write(head)
		join(c, far)
	})
	remote := o.remote(nil, "--relay-address", m.addr)
	remote.Await(`msg="the relay is reached with a smaller first message"`)
	if got := m.saw(); len(got) < 2 || got[0] != "large" || slices.Contains(got[1:], "large") {
		t.Errorf("the box saw %q", got)
	}
	o.visit(&tls.Config{RootCAs: o.ca.Pool()})
	remote.Stop()
	if !strings.Contains(remote.All.String(), `hint="something on the path loses TLS handshakes`) {
		t.Error("no hint in the log")
	}
	m.saw()
	up(o.remote(nil, "--relay-address", m.addr))
	if got := m.saw(); slices.Contains(got, "large") {
		t.Errorf("not remembered: the box saw %q", got)
	}
}

// A remote that goes on trying has the hints in its log, as one that ends has
// them in its last words.
func hintsInTheLog(t *testing.T, o *outside) {
	proxy := o.httpProxy()
	plain := newMiddlebox(t, func(_ *middlebox, c *net.TCPConn) {
		c.Read(make([]byte, 1<<14))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	reset := newMiddlebox(t, func(_ *middlebox, c *net.TCPConn) { c.SetLinger(0) })
	for _, c := range []struct {
		args []string
		hint string
	}{
		{[]string{"--proxy", "http://" + proxy.addr}, "the proxy wants a user and password: --proxy"},
		{[]string{"--proxy", "http://me:" + wrongPassword + "@" + proxy.addr}, "those in its URL were refused"},
		{[]string{"--relay-address", plain.addr}, "what answers there speaks no TLS"},
		{[]string{"--relay-address", reset.addr}, "something on the path may break the connection"},
	} {
		remote := o.remote(nil, c.args...)
		line := remote.Await(`level=WARN msg="no session with the relay; trying again"`)
		if _, hint, _ := strings.Cut(line, ` hint="`); !strings.Contains(hint, c.hint) {
			t.Errorf("%q has no hint %q", line, c.hint)
		}
		remote.Stop()
	}
}

// A variable that names no proxy is a mistake of usage, at the start.
func wrongProxyVariable(_ *testing.T, o *outside) {
	o.remote([]string{"ALL_PROXY=foo:bar:baz"}).ExitsWith(2, "ALL_PROXY: this is no URL", "hint: this variable names the proxy")
	o.remote([]string{"HTTPS_PROXY=foo:bar:baz"}).ExitsWith(2, "HTTPS_PROXY: this is no URL", "hint: this variable names the proxy")
}

// join copies both ways until one side ends.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(a, b); a.Close(); b.Close() })
	io.Copy(b, a)
	a.Close()
	b.Close()
	wg.Wait()
}

// hellos serves connections whose hellos f changes; nil is a reset.
func (o *outside) hellos(f func(raw []byte, known bool) []byte) *middlebox {
	return newMiddlebox(o.t, func(m *middlebox, c *net.TCPConn) {
		h, err := sni.Read(c, nil)
		if err != nil {
			return
		}
		known := h.OffersALPN("http/1.1")
		m.note(map[bool]string{true: "http/1.1", false: "keystay/1"}[known])
		raw := f(h.Raw, known)
		if raw == nil {
			c.SetLinger(0)
			return
		}
		relay, err := net.Dial("tcp", o.public)
		if err != nil {
			return
		}
		relay.Write(raw)
		join(c, relay)
	})
}

// stripALPN takes the ALPN extension out of a ClientHello in one record.
func stripALPN(t *testing.T, raw []byte) []byte {
	const alpn = 16
	b := cryptobyte.NewBuilder(nil)
	s := cryptobyte.String(raw)
	var head, body, fixed, session, suites, methods, exts cryptobyte.String
	ok := s.ReadBytes((*[]byte)(&head), 3) && s.ReadUint16LengthPrefixed(&body) && s.Empty() &&
		body.Skip(1) && body.ReadUint24LengthPrefixed(&body) && body.ReadBytes((*[]byte)(&fixed), 34) &&
		body.ReadUint8LengthPrefixed(&session) && body.ReadUint16LengthPrefixed(&suites) &&
		body.ReadUint8LengthPrefixed(&methods) && body.ReadUint16LengthPrefixed(&exts)
	b.AddBytes(head)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddBytes(fixed)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(session) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(suites) })
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(methods) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for ok && !exts.Empty() {
					var kind uint16
					var data cryptobyte.String
					if ok = exts.ReadUint16(&kind) && exts.ReadUint16LengthPrefixed(&data); ok && kind != alpn {
						b.AddUint16(kind)
						b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
					}
				}
			})
		})
	})
	if !ok {
		t.Error("no hello in one record")
	}
	return b.BytesOrPanic()
}

// fallsBack is the story of a path that only lets HTTPS through.
func (o *outside) fallsBack(m *middlebox) {
	o.t.Helper()
	tlsOnly := o.remote(nil, "--relay-address", m.addr, "--transport", "tls", "--wait", "3s")
	tlsOnly.ExitsWith(1, "does not answer after 3s")
	if got := m.saw(); len(got) == 0 || slices.Contains(got, "http/1.1") {
		o.t.Errorf("--transport tls: the box saw %q", got)
	}
	remote := up(o.remote(nil, "--relay-address", m.addr))
	if got := m.saw(); !slices.Equal(got[:2], []string{"keystay/1", "http/1.1"}) {
		o.t.Errorf("the box saw %q", got)
	}
	o.visit(&tls.Config{RootCAs: o.ca.Pool()})
	if !strings.Contains(remote.All.String(), "only a WebSocket gets through to the relay") {
		o.t.Error("it does not say how it got through")
	}
	remote.Stop()
	m.saw()
	up(o.remote(nil, "--relay-address", m.addr))
	if got := m.saw(); slices.Contains(got, "keystay/1") {
		o.t.Errorf("not remembered: the box saw %q", got)
	}
	o.visit(&tls.Config{RootCAs: o.ca.Pool()})
}

func alpnStripped(t *testing.T, o *outside) {
	o.fallsBack(o.hellos(func(raw []byte, known bool) []byte {
		if known {
			return raw
		}
		return stripALPN(t, raw)
	}))
}

func alpnReset(t *testing.T, o *outside) {
	o.fallsBack(o.hellos(func(raw []byte, known bool) []byte {
		if known {
			return raw
		}
		return nil
	}))
}

const (
	outPassword   = "p@ss/word"
	inURL         = "p%40ss%2Fword"
	wrongPassword = "hunter2"
)

// reach connects to what a proxy was asked for. The relay's name is known to
// the proxy alone.
func (o *outside) reach(address string) (net.Conn, error) {
	if address == outZone+":443" {
		address = o.public
	}
	return net.Dial("tcp", address)
}

// httpProxy is a proxy for CONNECT that wants the user me.
func (o *outside) httpProxy() *middlebox {
	return newMiddlebox(o.t, func(m *middlebox, c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("me:"+outPassword)) {
			m.note("refused")
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
			return
		}
		m.note(r.Host)
		far, err := o.reach(r.Host)
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		join(c, far)
	})
}

// The CA's API and the relay are both reached through the proxy.
func throughHTTPProxy(t *testing.T, o *outside) {
	m := o.httpProxy()
	o.remote(nil, "--proxy", "http://me:"+wrongPassword+"@"+m.addr, "--wait", "3s").
		ExitsWith(1, "it answers CONNECT with 407", "hint: the proxy wants a user and password, or others than it was given")
	if got := m.saw(); slices.Contains(got, outZone+":443") {
		t.Errorf("the proxy saw %q", got)
	}
	ca, err := pebble.Start(pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	root, err := ca.APIRootFile(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	ca.SetTLSTarget(o.public)
	up(o.start("remote", []string{"KEYSTAY_REMOTE_PROXY=http://me:" + inURL + "@" + m.addr},
		"--domain", outName, "--relay", outZone, "--local", o.site, "--relay-root", filepath.Join(o.dir, "root.pem"),
		"--acme-ca", ca.DirectoryURL(), "--acme-root", root, "--state-dir", filepath.Join(o.dir, "device"), "--log-level", "debug"))
	o.visit(&tls.Config{RootCAs: ca.IssuerPool()})
	api := strings.TrimPrefix(ca.DirectoryURL(), "https://")
	api, _, _ = strings.Cut(api, "/")
	if got := m.saw(); !slices.Contains(got, outZone+":443") || !slices.Contains(got, api) {
		t.Errorf("the proxy saw %q", got)
	}
}

// socksProxy is a SOCKS5 proxy (RFC 1928, 1929) that wants the user me.
func (o *outside) socksProxy() *middlebox {
	return newMiddlebox(o.t, func(m *middlebox, c *net.TCPConn) {
		read := func(n int) []byte {
			b := make([]byte, n)
			io.ReadFull(c, b)
			return b
		}
		if !bytes.Contains(read(int(read(2)[1])), []byte{2}) {
			m.note("refused")
			c.Write([]byte{5, 0xff})
			return
		}
		c.Write([]byte{5, 2})
		user := string(read(int(read(2)[1])))
		if password := string(read(int(read(1)[0]))); user != "me" || password != outPassword {
			m.note("refused")
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
		read(4)
		host := string(read(int(read(1)[0])))
		address := fmt.Sprintf("%s:%d", host, binary.BigEndian.Uint16(read(2)))
		m.note(address)
		far, err := o.reach(address)
		if err != nil {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		join(c, far)
	})
}

func throughSOCKS5(t *testing.T, o *outside) {
	m := o.socksProxy()
	o.remote([]string{"HTTPS_PROXY=socks5://me:" + wrongPassword + "@" + m.addr}, "--wait", "3s").
		ExitsWith(1, "proxy socks5://"+m.addr, "hint: if the proxy wants a user and password")
	if got := m.saw(); slices.Contains(got, outZone+":443") {
		t.Errorf("the proxy saw %q", got)
	}
	up(o.remote([]string{"HTTPS_PROXY=socks5://me:" + inURL + "@" + m.addr}))
	if got := m.saw(); len(got) == 0 || got[0] != outZone+":443" {
		t.Errorf("the proxy saw %q", got)
	}
	o.visit(&tls.Config{RootCAs: o.ca.Pool()})
}

// The environment's proxy is not used for names in NO_PROXY, nor with --proxy
// none.
func withoutProxy(t *testing.T, o *outside) {
	m := o.httpProxy()
	proxy := "HTTPS_PROXY=http://me:" + wrongPassword + "@" + m.addr
	for _, c := range []struct{ env, args []string }{
		{[]string{proxy, "NO_PROXY=example.com,.test"}, nil},
		{[]string{proxy, "no_proxy=relay.test:443"}, nil},
		{[]string{proxy}, []string{"--proxy", "none"}},
	} {
		remote := up(o.remote(c.env, append(c.args, "--relay-address", o.public)...))
		o.visit(&tls.Config{RootCAs: o.ca.Pool()})
		remote.Stop()
		if got := m.saw(); len(got) > 0 {
			t.Errorf("%v, %v: the proxy saw %q", c.env, c.args, got)
		}
	}
	o.remote([]string{proxy, "NO_PROXY=example.com"}, "--relay-address", o.public, "--wait", "3s").ExitsWith(1, "407")
	if got := m.saw(); len(got) == 0 {
		t.Error("the proxy saw nothing")
	}
}

// tlsEnder ends TLS with a certificate of its own CA, and opens another TLS
// connection to the relay. It speaks the ALPN protocols given.
func (o *outside) tlsEnder(ca *testca.CA, protos ...string) *middlebox {
	cert := ca.Issue(outZone)
	return newMiddlebox(o.t, func(m *middlebox, c *net.TCPConn) {
		near := tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			m.note(strings.Join(h.SupportedProtos, " "))
			return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protos}, nil
		}})
		if near.Handshake() != nil {
			return
		}
		far, err := tls.Dial("tcp", o.public, &tls.Config{ServerName: outZone, RootCAs: o.ca.Pool(), NextProtos: []string{near.ConnectionState().NegotiatedProtocol}})
		if err != nil {
			return
		}
		join(near, far)
	})
}

// badProof is what a remote says last whose proof did not fit.
var badProof = []string{"the proof of identity does not fit this connection", "hint: something between this device and the relay ends TLS"}

// A box whose CA the device trusts can read what a link says, but not pass for
// the device: no other way is tried.
func tlsEndedTrusted(t *testing.T, o *outside) {
	boxCA := testca.New(t)
	m := o.tlsEnder(boxCA, "keystay/1", "http/1.1")
	roots := o.write("roots.pem", append(o.ca.PEM(), boxCA.PEM()...))
	o.remote(nil, "--relay-address", m.addr, "--relay-root", roots).ExitsWith(3, badProof...)
	if got := m.saw(); !slices.Equal(got, []string{"keystay/1"}) {
		t.Errorf("the box saw %q", got)
	}
}

// The same with a box that knows HTTP alone.
func tlsEndedTrustedHTTP(t *testing.T, o *outside) {
	boxCA := testca.New(t)
	m := o.tlsEnder(boxCA, "http/1.1")
	roots := o.write("roots.pem", append(o.ca.PEM(), boxCA.PEM()...))
	o.remote(nil, "--relay-address", m.addr, "--relay-root", roots).ExitsWith(3, badProof...)
	if got := m.saw(); !slices.Equal(got, []string{"keystay/1", "http/1.1"}) {
		t.Errorf("the box saw %q", got)
	}
}

// A box whose CA nobody trusts gets nothing, and no other way is tried.
func tlsEndedUntrusted(t *testing.T, o *outside) {
	m := o.tlsEnder(testca.New(t), "keystay/1", "http/1.1")
	o.remote(nil, "--relay-address", m.addr, "--wait", "3s").
		ExitsWith(1, `its certificate was issued by "keystay test CA"`, "hint: else something between this device and the relay ends TLS")
	if got := m.saw(); len(got) == 0 || slices.Contains(got, "http/1.1") {
		t.Errorf("the box saw %q", got)
	}
}
