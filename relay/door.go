package relay

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"keystay/internal/hint"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// A door finds out of each connection who has come: whoever has dialled, somebody behind
// a proxy, or a visitor that a sibling passes on. It counts the connection for the address
// of that.
type door struct {
	log       *slog.Logger
	sockets   *sockets
	shares    *shares
	addresses *limits.Addresses
	router    *router
	dials     *dials // for connections of the server's own that come back
	refused   *refusals

	unproxied quota // of lines about proxies that send no header
	strangers quota // of those about siblings that call themselves by another name
}

// caller returns the connection of a visitor, with what a proxy in front of the
// server says of it. Where that cannot be, c is closed and nil returned.
func (d *door) caller(c net.Conn, a *admitted) sni.Conn {
	conn, ok := c.(sni.Conn)
	if !ok {
		c.Close()
		return nil
	}
	if !a.behind {
		return conn
	}
	p, from := d.behindProxy(conn)
	if p == nil {
		return nil
	}
	a.from = from
	d.sockets.isNow(a, p)
	return p
}

// behindProxy reads the header of a connection from a proxy, and counts the connection
// for the address that it names. Where that cannot be, c is closed and nil returned.
func (d *door) behindProxy(c sni.Conn) (*proxied, *limits.Connection) {
	place := d.shares.unfinished.begin(c, helloBuffer)
	if place == nil {
		d.shares.outOfMemory()
		c.Close()
		return nil, nil
	}
	p, err := readProxied(c)
	gone := place.end()
	if err != nil || gone {
		if !errors.Is(err, io.EOF) { // it has only looked whether somebody is here
			d.refused[refusedNoHeader].Add(1)
		}
		c.Close()
		if errors.Is(err, errNoProxyHeader) && !gone {
			d.tellNoHeader(c, err)
		}
		return nil, nil
	}
	from, why := d.addresses.Connect(p)
	if why != limits.None {
		socket.Abort(c)
		return nil, nil
	}
	return p, from
}

// tellNoHeader logs that a proxy has sent no header. Its address is the operator's.
func (d *door) tellNoHeader(c net.Conn, err error) {
	if left, ok := d.unproxied.take(1, time.Minute); ok {
		d.log.Warn("a connection from a proxy was closed", "proxy", addrPort(c.RemoteAddr()).Addr(), "err", err, left, hint.Attr(hint.NoProxyHeader.Do))
	}
}
