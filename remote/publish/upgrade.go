package publish

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"keystay/internal/socket"
)

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
	if body, isConn := res.Body.(io.ReadWriteCloser); isConn && x.stream != nil {
		socket.Linger(x.conn, 0) // a reset, if this process dies
		res.Body = &upgraded{ReadWriteCloser: body, local: x.conn, visitor: x.stream}
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
