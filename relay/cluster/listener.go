package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/publicaddr"
	"keystay/internal/unheard"
)

const (
	// handshakeTimeout is how long a TLS handshake between nodes may take.
	handshakeTimeout = 5 * time.Second
	// maxStrangers is how many connections may be that have not shown a certificate of
	// the CA yet, maxStrangersEach how many of them from one address, and
	// maxStrangersNetwork how many from one network, see networkOf. Where all of these, or
	// those of a network, are taken, whoever has most of them gives its oldest one up to one
	// that has fewer, see pushLocked.
	maxStrangers, maxStrangersEach, maxStrangersNetwork = 512, 64, 256
	// maxShaken is how much a stranger may send in its handshake, in bytes: nodes send
	// some thousand. maxAsked is how much one that asks to be a node may, behind that.
	maxShaken, maxAsked = 32 << 10, 2 * maxJoin
)

// A stranger is a connection whose TLS takes in so much at most: crypto/tls keeps messages of
// 256 KiB until they are whole.
type stranger struct {
	net.Conn
	unheard unheard.Bound
}

// A strangerPlace is the place of a connection without a certificate.
type strangerPlace struct {
	conn                net.Conn
	site, network, each netip.Prefix // each in the one before; a site of IPv4 is a network
	number              uint64       // it grows
}

// at lists what a place counts for, the widest first.
func (p *strangerPlace) at() []netip.Prefix {
	if p.site == p.network {
		return []netip.Prefix{p.network, p.each}
	}
	return []netip.Prefix{p.site, p.network, p.each}
}

func (s *stranger) Read(p []byte) (int, error) {
	p, err := s.unheard.Within(p)
	if err != nil {
		return 0, err
	}
	n, err := s.Conn.Read(p)
	s.unheard.Took(n)
	return n, err
}

// CloseWrite passes on an end, for which the connection below must have one.
func (s *stranger) CloseWrite() error {
	if d, ok := s.Conn.(duplex.Conn); ok {
		return d.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection below.
func (s *stranger) NetConn() net.Conn { return s.Conn }

var _ duplex.Conn = (*stranger)(nil)

// A listener takes connections of other nodes. The zero value is ready.
type listener struct {
	mu        sync.Mutex
	closed    bool
	all       map[net.Listener]struct{}
	conns     map[*strangerPlace]struct{}
	last      uint64               // number
	strangers map[netip.Prefix]int // by address, by network, and by site
	wg        sync.WaitGroup
}

// networkOf returns the network of an address: 64 bits of IPv6, of which one machine may
// have all addresses, or 24 of IPv4.
func networkOf(a netip.Addr) netip.Prefix {
	return publicaddr.Network(a, 24, 64)
}

// siteOf returns what one customer of a provider may have of addresses: 48 bits of IPv6, in
// which there are 65,536 networks. Of IPv4 it is the network.
func siteOf(a netip.Addr) netip.Prefix {
	return publicaddr.Network(a, 24, 48)
}

// Serve takes connections of other nodes from ln. It blocks, closes ln, and always
// returns an error: one that wraps [net.ErrClosed] after Close.
func (c *Cluster) Serve(ln net.Listener) error {
	c.init()
	defer ln.Close()
	l := &c.listener
	if !l.track(ln) {
		return net.ErrClosed
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || c.ctx.Err() != nil {
				return net.ErrClosed
			}
			c.log.Warn("cannot accept a node's connection", "err", err) // such as too many open files
			select {
			case <-time.After(time.Second):
				continue
			case <-c.ctx.Done():
				return net.ErrClosed
			}
		}
		leave, ok := l.enter(conn)
		if !ok {
			conn.Close()
			c.stats.add(&c.stats.refused, 1)
			continue
		}
		l.wg.Go(func() {
			defer leave()
			defer c.panics.Catch("serving a node", func() { conn.Close() })
			c.serve(conn, leave)
		})
	}
}

func (l *listener) track(ln net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.all == nil {
		l.all, l.conns, l.strangers = make(map[net.Listener]struct{}), make(map[*strangerPlace]struct{}), make(map[netip.Prefix]int)
	}
	l.all[ln] = struct{}{}
	return true
}

// enter counts a connection until it has shown a certificate; leave ends that, and may
// be called more than once.
func (l *listener) enter(conn net.Conn) (leave func(), ok bool) {
	var from netip.Addr
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from = a.AddrPort().Addr().Unmap().WithZone("")
	}
	p := &strangerPlace{conn: conn, site: siteOf(from), network: networkOf(from), each: netip.PrefixFrom(from, from.BitLen())}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.strangers[p.each] >= maxStrangersEach {
		return nil, false
	}
	if l.strangers[p.network] >= maxStrangersNetwork {
		if !l.pushLocked(p, p.network) {
			return nil, false
		}
	} else if len(l.conns) >= maxStrangers && !l.pushLocked(p, netip.Prefix{}) {
		return nil, false
	}
	l.last++
	p.number = l.last
	l.conns[p] = struct{}{}
	for _, at := range p.at() {
		l.strangers[at]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leaveLocked(p)
	}, true
}

// leaveLocked ends that a connection counts.
func (l *listener) leaveLocked(p *strangerPlace) {
	if _, ok := l.conns[p]; !ok {
		return
	}
	delete(l.conns, p)
	for _, at := range p.at() {
		if l.strangers[at]--; l.strangers[at] <= 0 {
			delete(l.strangers, at)
		}
	}
}

// pushLocked makes room for p among the places of a network, or among all without one: the
// site that has most gives one up, of it the network that has most, and of that the address,
// if it has more than p's would have. So it takes many sites to keep others away, and in one
// of these many networks, and in one of these many addresses.
func (l *listener) pushLocked(p *strangerPlace, network netip.Prefix) bool {
	more := func(a, b *strangerPlace) int {
		return cmp.Or(cmp.Compare(l.strangers[a.site], l.strangers[b.site]), cmp.Compare(l.strangers[a.network], l.strangers[b.network]),
			cmp.Compare(l.strangers[a.each], l.strangers[b.each]), cmp.Compare(b.number, a.number))
	}
	var first *strangerPlace
	for o := range l.conns {
		if (!network.IsValid() || o.network == network) && (first == nil || more(o, first) > 0) {
			first = o
		}
	}
	if first == nil || !l.hasMoreLocked(first, p) {
		return false
	}
	l.leaveLocked(first)
	first.conn.Close()
	return true
}

// hasMoreLocked reports whether the widest that o and p have not in common has more places
// where o is than it would have where p is.
func (l *listener) hasMoreLocked(o, p *strangerPlace) bool {
	switch {
	case o.site != p.site:
		return l.strangers[o.site] > l.strangers[p.site]+1
	case o.network != p.network:
		return l.strangers[o.network] > l.strangers[p.network]+1
	}
	return l.strangers[o.each] > l.strangers[p.each]+1
}

// close closes the listeners and the connections of strangers, and waits for these.
func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	for ln := range l.all {
		ln.Close()
	}
	for p := range l.conns {
		p.conn.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// serve does the handshake, and what the connection is for.
func (c *Cluster) serve(conn net.Conn, known func()) {
	s := &stranger{Conn: conn}
	s.unheard.Set(maxShaken)
	tc := tls.Server(&framing.TLSRecordConn{Conn: s}, &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			for _, alpn := range []string{ProtocolNode, ProtocolHop, ProtocolJoin} {
				if slices.Contains(h.SupportedProtos, alpn) {
					return c.Credentials.server(alpn, alpn == ProtocolJoin), nil
				}
			}
			return nil, errNoProtocol
		},
	})
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	err := tc.HandshakeContext(ctx)
	cancel()
	if err != nil {
		c.log.Debug("a connection is of no node", "from", conn.RemoteAddr(), "err", err)
		c.stats.add(&c.stats.refused, 1)
		conn.Close()
		return
	}
	s.unheard.Set(maxAsked)
	if tc.ConnectionState().NegotiatedProtocol != ProtocolJoin {
		s.unheard.Lift()
	}
	switch tc.ConnectionState().NegotiatedProtocol {
	case ProtocolNode:
		known()
		c.serveNode(tc)
	case ProtocolHop:
		known()
		if err := c.hops.serveConn(machineOf(tc), tc); err != nil {
			c.log.Debug("a visitor of another node was not taken", "err", err)
		}
	case ProtocolJoin:
		c.joins.serve(tc)
	}
}

// dial connects to a node for one of the protocols. The connection can be left by TLS:
// it runs on a [framing.TLSRecordConn]. The caller closes it.
func (c *Cluster) dial(ctx context.Context, node, alpn string) (*tls.Conn, error) {
	c.mu.RLock()
	address, err := c.list.address(node)
	c.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	conn, err := c.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: conn}, c.Credentials.client(node, alpn))
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return tc, nil
}
