package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"keystay/acme"
	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/sni"
)

// A homeVisit is the connection of a visitor who has come without a relay.
type homeVisit struct {
	sni.Conn
	home   *home
	header framing.Header
	first  []byte // read already, and not yet given on; nil when all is

	of    *Listener // guarded by home.mu; nil before the hello is there
	ended bool      // guarded by home.mu
}

// receive reads the hello of a visitor and brings it to Accept.
func (v *homeVisit) receive(d *Device) {
	leave := func() {}
	defer d.panics.Catch("letting a visitor in", func() { v.Reset(); leave() })
	socket.UserTimeout(v.Conn, homeTimeout)
	stop := context.AfterFunc(d.late, func() { v.Reset() })
	defer stop()
	l, wanted := v.hear(d)
	if l == nil {
		return
	}
	ok := true
	if !l.cfg.Raw { // how long one of these stays is not known
		if leave, ok = d.networks.enter(v.header.Source.Addr()); !ok {
			tellCrowded(d)
		}
	}
	if !ok || d.isFull(v.header) {
		leave()
		v.Reset()
		return
	}
	if !wanted {
		leave()
		v.refuse(sni.AlertAccessDenied)
		return
	}
	if !stop() { // it has been reset
		leave()
		return
	}
	socket.Linger(v.Conn, 0) // if this process dies, nobody takes what came until then for all
	if l.cfg.Raw {
		l.hand(v, v)
		return
	}
	l.handshake(&tlsInput{arrival: v, left: leave}, "")
}

// hear reads the hello, and returns the listener that it leads to, and whether that is for
// this visitor. Where there is none the visitor is refused.
func (v *homeVisit) hear(d *Device) (l *Listener, wanted bool) {
	if !v.home.hellos.enter(v) {
		v.Reset()
		return nil, false
	}
	// When the device stops, a visitor who has said nothing keeps nobody waiting.
	stop := context.AfterFunc(d.ctx, func() { v.SetReadDeadline(time.Now().Add(lateGrace)) })
	hello, err := sni.Read(v.Conn, nil)
	stop()
	v.home.hellos.leave(v)
	if err != nil {
		v.refuseHello(hello.Raw, err)
		return nil, false
	}
	name, err := hello.Name()
	if l = d.listener(name); err != nil || l == nil {
		v.refuse(sni.AlertUnrecognizedName)
		return nil, false
	}
	v.first, v.header.Name = hello.Raw, name
	rand.Read(v.header.ID[:])
	v.home.isFor(v, l)
	_, rules := l.currentRules()
	validation := hello.OnlyALPN(acme.ALPN) && l.keeper != nil
	return l, rules.Admit(v.header.Source.Addr()) || validation
}

// refuseHello ends a connection on which no whole hello has come, of which first has: as
// a TLS server would, and in HTTP where the visitor speaks that.
func (v *homeVisit) refuseHello(first []byte, err error) {
	if alert, ok := sni.AlertFor(err); ok {
		v.refuse(alert)
		return
	}
	defer v.home.leave(v)
	if errors.Is(err, sni.ErrNotTLS) && sni.LooksLikeHTTP(v.Conn, first) {
		sni.RefuseHTTP(v.Conn)
		return
	}
	v.Conn.Close()
}

func (v *homeVisit) refuse(alert sni.Alert) {
	defer v.home.leave(v)
	sni.Refuse(v.Conn, alert)
}

// Header is what a relay would have said of the visitor.
func (v *homeVisit) Header() framing.Header { return v.header }

// Read gives the hello on first.
func (v *homeVisit) Read(p []byte) (int, error) {
	if len(v.first) > 0 {
		n := copy(p, v.first)
		if v.first = v.first[n:]; len(v.first) == 0 {
			v.first = nil
		}
		return n, nil
	}
	return v.Conn.Read(p)
}

// Broken returns why the connection can carry no more, or nil.
func (v *homeVisit) Broken() error { return duplex.Broken(v.Conn) }

// NetConn is the connection to the device's own address.
func (v *homeVisit) NetConn() net.Conn { return v.Conn }

// Reset ends the connection at once, also one that Close has not ended yet.
func (v *homeVisit) Reset() error {
	first := v.home.ends(v)
	socket.Abort(v.Conn)
	if first {
		v.home.leave(v)
	}
	return nil
}

// Close ends the connection in good order, without waiting. A connection that is closed
// with bytes unread is reset, and the reset may overtake the answer: so the visitor's
// bytes are taken in for a while.
func (v *homeVisit) Close() error {
	if v.home.ends(v) {
		socket.Linger(v.Conn, -1)
		go func() {
			defer v.home.leave(v)
			sni.Leave(v.Conn)
		}()
	}
	return nil
}

var _ arrival = (*homeVisit)(nil)

var _ duplex.Conn = (*homeVisit)(nil)

// home are the visitors who have come without a relay.
type home struct {
	most   int
	hellos unwanted // that are not whole

	mu     sync.Mutex
	all    map[*homeVisit]struct{}
	change chan struct{} // closed when one of them leaves; nil while nobody waits
}

func newHome(most int) *home {
	return &home{most: most, hellos: unwanted{most: maxHellos}, all: make(map[*homeVisit]struct{})}
}

// enter notes a visitor, whom d counts as on its way until its receive returns. It
// reports false where the device has stopped, or has more than it can hear.
func (h *home) enter(d *Device, v *homeVisit) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.stopped || len(h.all) >= h.most+2*maxHellos { // some are about to be told that they are too many
		return false
	}
	h.all[v] = struct{}{}
	d.arriving.Add(1)
	d.wg.Add(1)
	return true
}

// isFor notes whose visitor v is.
func (h *home) isFor(v *homeVisit, l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.of = l
}

// ends notes that the connection of a visitor ends. It reports whether it had not before.
func (h *home) ends(v *homeVisit) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, v.ended = !v.ended, true
	return first
}

// leave notes that a visitor has left.
func (h *home) leave(v *homeVisit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, v)
	if h.change != nil {
		close(h.change)
		h.change = nil
	}
}

// count is how many visitors of l there are, or of all listeners if l is nil. A visitor
// whose hello is not there yet is not counted.
func (h *home) count(l *Listener) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.all {
		if v.of != nil && (l == nil || v.of == l) {
			n++
		}
	}
	return n
}

// waitGone waits until there is no visitor of l, or nobody at all, or until ctx ends.
func (h *home) waitGone(ctx context.Context, l *Listener) error {
	for {
		h.mu.Lock()
		if h.change == nil {
			h.change = make(chan struct{})
		}
		change, nobody := h.change, len(h.all) == 0
		h.mu.Unlock()
		if nobody || l != nil && h.count(l) == 0 {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cut resets the visitors of l, or all, and returns how many there were.
func (h *home) cut(l *Listener) int {
	h.mu.Lock()
	var cut []*homeVisit
	for v := range h.all {
		if l == nil || v.of == l {
			cut = append(cut, v)
		}
	}
	h.mu.Unlock()
	for _, v := range cut {
		v.Reset()
	}
	return len(cut)
}

// addrPortOf is a as it stands in a header; the zero address where it is none of TCP.
func addrPortOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
