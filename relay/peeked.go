package relay

import (
	"net"

	"keystay/internal/duplex"
	"keystay/internal/unheard"
	"keystay/relay/limits"
	"keystay/sni"
)

// peeked is a connection whose first bytes have been read already.
type peeked struct {
	sni.Conn
	first []byte             // nil when all of it has been read
	lane  bool               // the hello offers to be a lane
	place *pending           // until Close, or until somebody else accounts for it
	from  *limits.Connection // until Close
	turns *turns             // of its handshake, while that goes on

	unheard unheard.Bound // of the TLS above
}

// Close gives its place up, too, and ends that it counts for its address.
func (p *peeked) Close() error {
	p.place.end()
	p.from.Close()
	return p.Conn.Close()
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		if p.first = p.first[n:]; len(p.first) == 0 {
			p.first = nil // a link may last for weeks
		}
		return n, nil
	}
	b, err := p.unheard.Within(b)
	if err != nil {
		return 0, err
	}
	if p.turns == nil {
		n, err := p.Conn.Read(b)
		p.unheard.Took(n)
		return n, err
	}
	p.turns.end()
	n, err := p.Conn.Read(b)
	p.unheard.Took(n)
	if err == nil {
		err = p.turns.take()
	}
	return n, err
}

func (p *peeked) Write(b []byte) (int, error) {
	if p.turns != nil {
		p.turns.wrote(b)
	}
	return p.Conn.Write(b)
}

// NetConn returns the connection below.
func (p *peeked) NetConn() net.Conn { return p.Conn }

var _ duplex.Conn = (*peeked)(nil)
