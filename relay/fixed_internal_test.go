package relay

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"keystay/internal/testnet"
)

// A cameFrom is a connection that was accepted, with addresses of its own.
type cameFrom struct {
	net.Conn
	remote, local net.Addr
}

func (c cameFrom) RemoteAddr() net.Addr { return c.remote }
func (c cameFrom) LocalAddr() net.Addr  { return c.local }

// A visitor on this machine may have the port of a connection to the operator's server, as
// the system gives one port to connections that lead to different addresses: that is no loop.
func TestVisitorFromTheSamePortIsNoLoop(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(testnet.Accept(ln, func(net.Conn) { <-t.Context().Done() }))
	var d dials
	c, err := d.dial(t.Context(), context.Background(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	public := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if d.has(cameFrom{remote: c.LocalAddr(), local: public}) {
		t.Error("a visitor from the same port is taken for the relay itself")
	}
	if !d.has(cameFrom{remote: c.LocalAddr(), local: c.RemoteAddr()}) {
		t.Error("the relay's own connection is not known")
	}
	other := cameFrom{remote: public, local: c.LocalAddr()} // of the relay, from the same port
	d.open[addrPort(other.local)] = append(d.open[addrPort(other.local)], addrPort(other.remote))
	d.forget(other)
	if !d.has(cameFrom{remote: c.LocalAddr(), local: c.RemoteAddr()}) {
		t.Error("the end of another connection from the same port has taken it away")
	}
	d.forget(c)
	if len(d.open) != 0 {
		t.Error("a connection that is over is known still")
	}
}

// A body that was not read to its end is, when it is closed: its trailers are not kept either.
func TestClosedBodyKeepsNoTrailers(t *testing.T) {
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = nil
	b := &untrailed{ReadCloser: req.Body, of: req}
	if err := b.Close(); err != nil || req.Trailer != nil {
		t.Errorf("%v, %v", req.Trailer, err)
	}
}
