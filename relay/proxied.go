package relay

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"keystay/internal/duplex"
	"keystay/sni"
)

const (
	// proxyTimeout is how long a proxy may take for its header: it has all of it when
	// it connects.
	proxyTimeout = 5 * time.Second
	// maxProxyHeader is the longest header that is taken, in bytes: addresses, and
	// whatever else a load balancer adds. It is nginx's limit, too.
	maxProxyHeader = helloBuffer
	// maxProxyLine is the longest of version 1 (section 2.1 of the PROXY protocol).
	maxProxyLine = 107
)

// errNoProxyHeader is the error of a connection that does not begin with a PROXY
// header, or with one that cannot be taken.
var errNoProxyHeader = errors.New("no PROXY protocol header")

// A proxied connection comes from a proxy, whose header says who is behind it.
type proxied struct {
	sni.Conn
	rest         []byte       // bytes that came behind the header and are not read yet
	mark         *mark        // that a sibling passes it on, if the sender is one; nil without
	source, dest *net.TCPAddr // nil where the header says that they are the connection's own
}

// RemoteAddr returns the address of who is behind the proxy.
func (p *proxied) RemoteAddr() net.Addr {
	if p.source == nil {
		return p.Conn.RemoteAddr()
	}
	return p.source
}

// LocalAddr returns the address at the proxy.
func (p *proxied) LocalAddr() net.Addr {
	if p.dest == nil {
		return p.Conn.LocalAddr()
	}
	return p.dest
}

// Read implements io.Reader.
func (p *proxied) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.rest)
	if p.rest = p.rest[n:]; len(p.rest) == 0 {
		p.rest = nil
	}
	return n, nil
}

// NetConn returns the connection of the proxy.
func (p *proxied) NetConn() net.Conn { return p.Conn }

var _ duplex.Conn = (*proxied)(nil)

// header is a header that says the same as the one that came.
func (p *proxied) header() ([]byte, error) {
	if p.source == nil {
		return proxyproto.HeaderProxyFromAddrs(2, nil, nil).Format()
	}
	return proxyproto.HeaderProxyFromAddrs(2, p.source, p.dest).Format()
}

// direct returns c, or the connection of another node, or of the proxy where all of its
// header is read: so that what copies from it finds a socket.
func direct(c sni.Conn) sni.Conn {
	switch p := c.(type) {
	case *proxied:
		if len(p.rest) == 0 {
			return p.Conn
		}
	case *hopped:
		return p.Conn
	}
	return c
}

// readProxied reads the header of a proxy from c, with deadline and limit. It may read
// more, which Read of the connection it returns begins with. Where the first bytes are no
// header it returns a connection that begins with them, and errNoProxyHeader.
func readProxied(c sni.Conn) (*proxied, error) {
	if err := c.SetReadDeadline(time.Now().Add(proxyTimeout)); err != nil {
		return nil, err
	}
	buf := helloBuffers.Get().(*[helloBuffer]byte)
	defer helloBuffers.Put(buf)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		n += m
		length, wrong := proxyHeader(buf[:n])
		switch {
		case wrong != nil:
			return &proxied{Conn: c, rest: bytes.Clone(buf[:n])}, cmp.Or(c.SetReadDeadline(time.Time{}), wrong)
		case length > 0:
			p, err := parseProxied(buf[:length])
			if err != nil {
				return nil, err
			}
			p.Conn, p.rest = c, bytes.Clone(buf[length:n])
			return p, c.SetReadDeadline(time.Time{})
		case err == io.EOF && n > 0:
			return nil, fmt.Errorf("%w: the end comes within it", errNoProxyHeader)
		case err != nil:
			return nil, err
		}
	}
}

// proxyHeader returns how long the header is that b begins with; 0 while it is not
// whole.
func proxyHeader(b []byte) (n int, err error) {
	const fixed = 16 // of version 2, its length last
	line := append(bytes.Clone(proxyproto.SIGV1), ' ')
	switch {
	case isPart(b, proxyproto.SIGV2) && len(b) < fixed:
		return 0, nil
	case isPart(b, proxyproto.SIGV2):
		n = fixed + int(binary.BigEndian.Uint16(b[fixed-2:]))
		if n > maxProxyHeader {
			return 0, fmt.Errorf("%w: it has %d bytes, %d are taken at most", errNoProxyHeader, n, maxProxyHeader)
		}
		if n > len(b) {
			return 0, nil
		}
		return n, nil
	case isPart(b, line):
		if i := bytes.IndexByte(b[:min(len(b), maxProxyLine)], '\n'); i >= 0 {
			return i + 1, nil
		}
		if len(b) >= maxProxyLine {
			return 0, fmt.Errorf("%w: its line has no end", errNoProxyHeader)
		}
		return 0, nil
	}
	return 0, errNoProxyHeader
}

// isPart reports whether one of the two begins with the other.
func isPart(b, whole []byte) bool {
	n := min(len(b), len(whole))
	return bytes.Equal(b[:n], whole[:n])
}

// parseProxied parses a whole header. One of another protocol than TCP, or of a
// connection that is the proxy's own (LOCAL), leaves the connection's own addresses.
func parseProxied(b []byte) (*proxied, error) {
	// So nginx writes the address of an IPv4 visitor that came to a socket for both.
	if rest, ok := bytes.CutPrefix(b, []byte("PROXY TCP6 ")); ok && !bytes.ContainsRune(rest, ':') {
		b = append([]byte("PROXY TCP4 "), rest...)
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), maxProxyHeader))
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", errNoProxyHeader) // err may say whose it is
	}
	source, dest, ok := h.TCPAddrs()
	if h.Command.IsLocal() || !ok {
		return &proxied{}, nil
	}
	return &proxied{source: source, dest: dest, mark: markOf(h)}, nil
}

// markOf returns the mark of a header, or nil.
func markOf(h *proxyproto.Header) *mark {
	tlvs, err := h.TLVs()
	if err != nil {
		return nil
	}
	var name string
	for _, t := range tlvs {
		switch t.Type {
		case proxyproto.PP2_TYPE_AUTHORITY:
			name = string(t.Value)
		case typeMark:
			m, ok := parseMark(t.Value, name)
			if !ok {
				return nil
			}
			return &m
		}
	}
	return nil
}
