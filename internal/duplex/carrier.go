package duplex

import (
	"net"

	"keystay/internal/socket"
)

// A carried is a Conn whose directions may move to a TCP connection, see
// [Conn].
type carried interface {
	Carrier() (read, write *net.TCPConn)
}

// carriers returns the TCP connections to read from and to write to in place
// of c, nil for a direction that c itself still carries. A TCP connection is
// its own carrier.
func carriers(c net.Conn) (read, write *net.TCPConn) {
	switch c := c.(type) {
	case *net.TCPConn:
		return c, c
	case carried:
		return c.Carrier()
	}
	return nil, nil
}

// source returns the TCP connection to read from by now, or nil.
func (d *direction) source() *net.TCPConn {
	read, write := carriers(d.src)
	if read != nil {
		d.adopt(d.src, read, write)
	}
	return read
}

// sink returns what writes to the TCP connection to write to by now, or nil.
// Only the direction's own goroutine may call it, or WriteNow while that waits.
func (d *direction) sink() *giver {
	if d.to == nil {
		read, write := carriers(d.dst)
		if write != nil {
			d.to = newGiver(d, write)
			d.adopt(d.dst, read, write)
		}
	}
	return d.to
}

// adopt makes ready what a direction of c has moved to, before it carries a
// byte.
func (d *direction) adopt(c Conn, read, write *net.TCPConn) {
	if net.Conn(c) == net.Conn(read) {
		return // nothing has moved
	}
	d.moving.CompareAndSwap(0, d.bytes.Load()+1)
	for _, tcp := range []*net.TCPConn{read, write} {
		if tcp != nil {
			tcp.SetLinger(0)
		}
	}
	if halfMoved(read, write) {
		d.watch()
	}
	if d.options.Moved != nil {
		d.options.Moved()
	}
}

// halfMoved reports whether one direction of a Conn has moved and the other
// has not. A Read then waits on one of the two only, and would not see that
// the other is reset.
func halfMoved(read, write *net.TCPConn) bool { return (read == nil) != (write == nil) }

// sockets returns the TCP connections of c: the one that it is or wraps, and
// its carriers.
func sockets(c net.Conn) (all []net.Conn) {
	if inner := socket.Innermost(c); socket.IsTCP(inner) {
		all = append(all, inner)
	}
	if c, ok := c.(carried); ok {
		read, write := c.Carrier()
		if read != nil {
			all = append(all, read)
		}
		if write != nil && write != read {
			all = append(all, write)
		}
	}
	return all
}

// setLinger sets SO_LINGER on the TCP connections of c, if any.
func setLinger(c net.Conn, sec int) {
	for _, s := range sockets(c) {
		socket.Linger(s, sec)
	}
}
