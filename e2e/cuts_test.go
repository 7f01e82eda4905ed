package e2e

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// cuts counts the connections of a transport that their other sides have ended. A transport
// may end one, too: it uses none again whose request it takes for not written 50 ms after the
// answer, as it may on a busy machine.
type cuts struct{ atomic.Int64 }

// watch counts those that a transport dials from now on.
func (e *cuts) watch(tr *http.Transport) {
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watchedConn{Conn: c, ended: e}, nil
	}
}

type watchedConn struct {
	net.Conn
	ended  *cuts
	closed atomic.Bool
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !c.closed.Swap(true) {
		c.ended.Add(1)
	}
	return n, err
}

func (c *watchedConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
