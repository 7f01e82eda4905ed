package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"keystay/internal/proxydial"
	"keystay/internal/publicaddr"
)

// A relay says where its nodes can be dialled. It must not make the device knock at
// other doors: at those of the device's own network, or again and again at a stranger's.

const (
	// maxStrange is how many addresses are dialled at once at which the relay's name has
	// not been verified yet, and strangeInterval how often one more.
	maxStrange      = 24
	strangeInterval = time.Hour
	// maxOpened is how many addresses are remembered at which it has.
	maxOpened = 256
)

var (
	errOtherKind  = errors.New("it is of another kind than the address at which the relay itself is reached: one is public, private or this device's own, and the other is not")
	errStrange    = errors.New("too many addresses of nodes have turned out to be none of the relay's")
	errNodeAtPort = errors.New("through a proxy a node is dialled at the relay's port, by a name or a public address")
)

// A kind of address says how far it reaches.
type kind int

const (
	kindNone kind = iota // nobody is to be dialled there
	kindLoopback
	kindLinkLocal
	kindPrivate // and all else that is not reachable from everywhere
	kindPublic
)

func kindOf(ip netip.Addr) kind {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return kindNone
	case ip.IsLoopback():
		return kindLoopback
	case ip.IsLinkLocalUnicast():
		return kindLinkLocal
	case publicaddr.Is(ip):
		return kindPublic
	}
	return kindPrivate
}

// doors bounds which addresses of nodes are dialled. The zero value lets none.
type doors struct {
	mu     sync.Mutex
	kinds  map[kind]bool   // of the addresses at which the relay itself was reached
	opened map[string]bool // at which the relay's name was verified
	free   time.Time       // when as many strange ones may be dialled at once as ever
}

// verified notes that the relay's name was verified at an address, which was dialled for
// a node or, with the zero target, by that name itself.
func (d *doors) verified(addr net.Addr, to target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened == nil || len(d.opened) >= maxOpened {
		d.opened = make(map[string]bool)
	}
	d.opened[addr.String()] = true
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil || to != (target{}) {
		return
	}
	if d.kinds == nil {
		d.kinds = make(map[kind]bool)
	}
	d.kinds[kindOf(at.Addr())] = true
}

// forget forgets at which kinds of addresses the relay was reached, but for public ones:
// on another network a private address is somebody else's.
func (d *doors) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.kinds, func(k kind, _ bool) bool { return k != kindPublic })
	maps.DeleteFunc(d.opened, func(at string, _ bool) bool {
		a, err := netip.ParseAddrPort(at)
		return err != nil || kindOf(a.Addr()) != kindPublic
	})
}

// areShut reports whether nothing may be dialled before the relay was reached by its name.
func (d *doors) areShut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kinds) == 0
}

// mayDialNodes reports whether nodes of a relay may be dialled now.
func (w *way) mayDialNodes(relay string) bool { return !w.direct(relay) || !w.doors.areShut() }

// isOpen reports whether the relay's name was verified at an address.
func (d *doors) isOpen(addr net.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened[addr.String()]
}

// control is that of a net.Dialer: it sees the very address that is about to be dialled,
// whatever a name has led to.
func (d *doors) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := kindOf(at.Addr()); k == kindNone || !d.kinds[k] {
		return errOtherKind
	}
	if d.opened[address] {
		return nil
	}
	now := time.Now()
	if d.free.Before(now) {
		d.free = now
	}
	next := d.free.Add(strangeInterval)
	if next.Sub(now) > maxStrange*strangeInterval {
		return errStrange
	}
	d.free = next
	return nil
}

// dialable returns an address that a relay has told of a node, or "" where it is none, or
// the relay's own: that may lead to any of its nodes.
func dialable(address, relay string) string {
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
		return ""
	}
	if own, at := splitRelay(relay); strings.EqualFold(host, own) && port == at {
		return ""
	}
	return address
}

// dialNode dials a node of a relay whose own port is given, perhaps through a proxy.
func (w *way) dialNode(ctx context.Context, proxy *url.URL, port, address string) (net.Conn, error) {
	if proxy != nil {
		host, p, err := net.SplitHostPort(address)
		if ip, perr := netip.ParseAddr(host); err != nil || p != port || perr == nil && kindOf(ip) != kindPublic {
			return nil, fmt.Errorf("dial %s: %w", address, errNodeAtPort)
		}
		return (&proxydial.Proxy{URL: proxy}).Dial(ctx, address)
	}
	dialer := net.Dialer{Timeout: otherAddressTimeout, Control: w.doors.control}
	return dialer.DialContext(ctx, "tcp", address)
}

// measureNode returns the round trip to a node, by the time that it takes to accept a
// connection. Where the relay's name has not been verified there, it is.
func (w *way) measureNode(ctx context.Context, relay string, to target) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	var mu sync.Mutex
	began := make(map[string]time.Time) // without what it took to look names up
	dialer := net.Dialer{Timeout: otherAddressTimeout, Control: func(network, address string, c syscall.RawConn) error {
		mu.Lock()
		defer mu.Unlock()
		began[address] = time.Now()
		return w.doors.control(network, address, c)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", to.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	mu.Lock()
	took := time.Since(began[conn.RemoteAddr().String()])
	mu.Unlock()
	if w.doors.isOpen(conn.RemoteAddr()) {
		return took, nil
	}
	plan := w.d.transports.plan(relay)
	host, _ := splitRelay(relay)
	if _, err := w.d.handshake(ctx, conn, plan.transports[0], plan.small, host); err != nil {
		return 0, err
	}
	w.doors.verified(conn.RemoteAddr(), to)
	return took, nil
}
