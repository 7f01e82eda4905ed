package publish

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"keystay/internal/socket"
)

// dropUpgrade takes out of Upgrade each protocol that must not reach the service,
// and leaves the others: another HTTP inside the connection, or a TLS in which
// there is one (RFC 2817), would be past everything here. A protocol that is not
// well formed would be taken for the service's mistake.
func dropUpgrade(h http.Header) {
	asked := protocols(h)
	passed := slices.DeleteFunc(slices.Clone(asked), func(p string) bool { return !isForeign(p) })
	if len(passed) == len(asked) && len(passed) > 0 && len(h["Upgrade"]) == 1 {
		return
	}
	h.Del("Upgrade")
	if len(passed) > 0 {
		h.Set("Upgrade", strings.Join(passed, ", ")) // in one line: ReverseProxy sees no other
	}
	if len(passed) < len(asked) {
		h.Del("Http2-Settings")
	}
}

// protocols are those that Upgrade lists (RFC 9110, sections 5.6.1 and 7.8).
func protocols(h http.Header) []string {
	var list []string
	for p := range strings.SplitSeq(strings.Join(h["Upgrade"], ","), ",") {
		if p = strings.Trim(p, " \t"); p != "" {
			list = append(list, p)
		}
	}
	return list
}

// isForeign reports whether a protocol is well formed, which is a name and
// perhaps a version, and does not carry HTTP that the remote would have to see.
func isForeign(protocol string) bool {
	name, version, versioned := strings.Cut(protocol, "/")
	if !isToken(name) || versioned && !isToken(version) {
		return false
	}
	name = strings.ToLower(name)
	return !slices.ContainsFunc([]string{"h2", "h3", "http", "tls", "ssl", "connect-"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// switches reports whether an answer 101 switches, and to nothing but what the
// request has asked for.
func switches(req *http.Request, res *http.Response) bool {
	asked, given := protocols(req.Header), protocols(res.Header)
	return len(given) > 0 && httpguts.HeaderValuesContainsToken(res.Header["Connection"], "Upgrade") && !slices.ContainsFunc(given, func(g string) bool {
		return !slices.ContainsFunc(asked, func(a string) bool { return equalFoldASCII(a, g) })
	})
}

// An upgraded connection is the local side of a request that has switched
// protocols, such as a WebSocket. There, net/http's proxy would end both sides
// in good order whatever has happened: this passes a break on as one, either
// way, also if this process dies.
type upgraded struct {
	io.ReadWriteCloser // from the transport

	local   net.Conn // what is below it
	visitor stream
	ended   atomic.Bool // the local side has ended, in good order
}

// switchProtocols puts an upgraded connection in the place of the transport's.
func switchProtocols(res *http.Response, x *exchange) {
	visitor := x.stream
	if x.tunnel != nil {
		visitor = x.tunnel
	}
	if body, isConn := res.Body.(io.ReadWriteCloser); isConn && visitor != nil {
		socket.Linger(x.conn, 0) // a reset, if this process dies
		res.Body = &upgraded{ReadWriteCloser: body, local: x.conn, visitor: visitor}
	}
}

// Read implements io.Reader.
func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	switch {
	case err == io.EOF:
		u.ended.Store(true)
	case err != nil:
		u.visitor.Reset()
	}
	return n, err
}

// CloseWrite passes the visitor's end on.
func (u *upgraded) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}

// Close ends the local side, in good order only if the visitor's has not broken.
func (u *upgraded) Close() error {
	if !u.ended.Load() || u.visitor.Broken() != nil {
		socket.Abort(u.local)
	} else {
		socket.Linger(u.local, -1)
	}
	return u.ReadWriteCloser.Close()
}

var _ interface {
	io.ReadWriteCloser
	CloseWrite() error
} = (*upgraded)(nil)
