package relay

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"keystay/internal/hostname"
	"keystay/internal/outage"
)

// A Front is what stands before the server, and beside it on the same address. The
// zero value is nothing.
type Front struct {
	// Proxies are the addresses, such as a load balancer's, from which every
	// connection to the public port and to port 80 begins with a PROXY protocol
	// header, version 1 or 2, which says where it really comes from. From there a
	// connection without a header is closed; from elsewhere no header is believed.
	Proxies []netip.Prefix

	// Static are names that lead to servers of the operator's own.
	Static []Fixed

	// Fallback is where names lead that are neither below Domain nor given out, and
	// hellos that ask for no name where there is no DefaultName. Without To these
	// are refused.
	Fallback Fixed
}

// A Fixed is a server of the operator's own that speaks TLS.
type Fixed struct {
	// Name is a whole host name in its normal form, or "*." and one for all names
	// below that. Of a fallback it says nothing.
	Name string

	// To is its host:port.
	To string

	// HTTP is the host:port that requests to port 80 are passed on to; without it
	// they are sent to https.
	HTTP string

	// ProxyProtocol is the version of the PROXY protocol header that both are sent
	// at the beginning: 1, 2, or 0 for none.
	ProxyProtocol int
}

// A fixed is a Fixed that is in use.
type fixed struct {
	Fixed
	visits *gauge // visitors of its kind
	away   outage.Outage
}

// A front is a Front that is in use. A nil one is nothing.
type front struct {
	proxies  []netip.Prefix
	names    map[string]*fixed
	below    map[string]*fixed // all names below the key
	fallback *fixed            // or nil
}

// SetFront makes f count from now on. Connections that are here stay where they are.
func (s *Server) SetFront(f Front) {
	made := &front{proxies: slices.Clone(f.Proxies), names: make(map[string]*fixed), below: make(map[string]*fixed)}
	for _, to := range f.Static {
		if base, all := strings.CutPrefix(to.Name, "*."); all {
			made.below[base] = &fixed{Fixed: to, visits: &s.stats.static}
		} else {
			made.names[to.Name] = &fixed{Fixed: to, visits: &s.stats.static}
		}
	}
	if f.Fallback.To != "" {
		made.fallback = &fixed{Fixed: f.Fallback, visits: &s.stats.fallback}
	}
	s.front.Store(made)
}

// static returns where a name leads by the operator's word, or nil. A whole name goes
// before all those below another one, and of these the longest.
func (f *front) static(name string) *fixed {
	if f == nil {
		return nil
	}
	if to := f.names[name]; to != nil {
		return to
	}
	for _, rest, more := strings.Cut(name, "."); more; _, rest, more = strings.Cut(rest, ".") {
		if to := f.below[rest]; to != nil {
			return to
		}
	}
	return nil
}

// other returns where names lead that are nobody's here, or nil. Those below zone are
// the relay's all the same; an empty name is that of a hello that asks for none.
func (f *front) other(name, zone string) *fixed {
	if f == nil || hostname.IsBelow(name, zone) {
		return nil
	}
	return f.fallback
}

// believes reports whether a connection from an address begins with a PROXY header.
func (f *front) believes(a netip.Addr) bool {
	return f != nil && slices.ContainsFunc(f.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// believesOf is believes for the address that a connection comes from.
func (f *front) believesOf(c net.Conn) bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && f.believes(a.AddrPort().Addr().Unmap().WithZone(""))
}

// fronts has the front in use.
type fronts = atomic.Pointer[front]
