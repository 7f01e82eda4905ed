package relay

import (
	"bytes"
	"io"
	"testing"

	"keystay/internal/memconn"
)

// A header is taken whole and nothing of what follows it, however it comes; it names no
// address that is none.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.8 192.0.2.80 1 443\r\n"))
	f.Add([]byte("PROXY TCP6 203.0.113.8 192.0.2.80 1 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x50\x00\x01\x01\xbb"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := proxyHeader(b)
		if n < 0 || n > len(b) || n > maxProxyHeader || err != nil && n > 0 {
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		for i := range min(len(b), 200) { // what is no header is none from its first bytes on
			if _, early := proxyHeader(b[:i]); early != nil && err == nil {
				t.Fatalf("%d bytes: %v", i, early)
			}
		}
		if n == 0 {
			return
		}
		near, far := memconn.Pipe(0)
		defer far.Close()
		go func() {
			far.Write(b)
			far.Write([]byte("behind it"))
			far.CloseWrite()
		}()
		p, err := readProxied(near)
		if err != nil {
			near.Close()
			return
		}
		defer p.Close()
		if rest, err := io.ReadAll(p); err != nil || !bytes.Equal(rest, append(bytes.Clone(b[n:]), "behind it"...)) {
			t.Fatalf("behind the header: %q, %v", rest, err)
		}
		if _, err := p.header(); err != nil || p.source != nil && !addrPort(p.RemoteAddr()).IsValid() {
			t.Fatalf("it is from %v, %v", p.source, err)
		}
	})
}
