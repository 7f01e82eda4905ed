package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/inetaf/tcpproxy"
	"github.com/pires/go-proxyproto"

	"keystay/internal/duplex"
	"keystay/internal/hint"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/sni"
)

// fixedTimeout is how long a server of the operator's may take to be connected, and then
// to take the header and the hello: it is near.
const fixedTimeout = 5 * time.Second

var errLoop = errors.New("it leads back to this relay")

// fixedVisits serve the visitors of servers of the operator's.
type fixedVisits struct {
	ctx     context.Context // of the server
	log     *slog.Logger
	panics  *panics.Log
	dials   *dials
	shares  *shares
	refused *refusals
}

// A fixedVisit is a visitor of a server of the operator's. tcpproxy's DialProxy dials,
// and says when that fails. The bytes are duplex's to copy, which keeps ends and resets
// apart: io.Copy lets either end do the copying by its WriteTo.
type fixedVisit struct {
	of      *fixedVisits
	to      *fixed
	conn    sni.Conn // the visitor
	name    string   // that its hello asks for; may be empty
	place   *pending
	hello   []byte
	server  sni.Conn // once it is dialled
	carried chan struct{}
}

// serve serves a visitor whose hello leads to a server of the operator's. It
// returns at once, and ends a when the visitor's bytes are over.
func (f *fixedVisits) serve(c sni.Conn, a *admitted) {
	socket.UserTimeout(c, visitorTimeout)
	v := &fixedVisit{of: f, to: a.fixed.to, conn: c, name: a.fixed.name, hello: a.fixed.hello, place: a.place, carried: make(chan struct{})}
	a.fixed = nil
	v.to.visits.add()
	go func() {
		defer func() {
			v.to.visits.done()
			a.end()
		}()
		defer f.panics.Catch("serving a visitor of a fixed target", func() { socket.Abort(c) })
		defer v.ended()
		p := tcpproxy.DialProxy{Addr: v.to.To, DialTimeout: fixedTimeout, KeepAlivePeriod: -1, DialContext: v.dial, OnDialError: v.failed}
		p.HandleConn(visitorEnd{c, v})
	}()
}

// dial connects to the server, and sends it what it has to know before anything else.
func (v *fixedVisit) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if v.of.dials.has(v.conn) {
		return nil, errLoop
	}
	c, err := v.of.dials.dial(ctx, v.of.ctx, addr)
	if err != nil {
		return nil, err
	}
	v.server = c
	header, err := v.to.header(v.conn.RemoteAddr(), v.conn.LocalAddr(), v.name)
	if err == nil {
		c.SetWriteDeadline(time.Now().Add(fixedTimeout))
		_, err = c.Write(append(header, v.hello...))
		c.SetWriteDeadline(time.Time{})
	}
	if v.hello = nil; v.place.end() {
		err = errNoRoom
	}
	if err != nil {
		return nil, err
	}
	if lasted, n, told := v.to.away.Ends(); told {
		v.of.log.Info("the server behind static or fallback answers again", "to", addr, "lasted", lasted.Round(time.Second), "visitors", n)
	}
	return serverEnd{c, v}, nil
}

// failed refuses the visitor.
func (v *fixedVisit) failed(_ net.Conn, err error) {
	if errors.Is(err, errNoRoom) { // it is closed already
		v.of.shares.outOfMemory()
		return
	}
	if tell, n := v.to.away.Failed(1); tell {
		v.of.log.Warn("the server behind static or fallback does not answer", "to", v.to.To, "err", err, "visitors", n, hint.Attr(hint.FixedAway.Do))
	}
	v.of.refused.refuse(v.conn, sni.AlertInternalError, refusedFixed)
}

// ended forgets the connection to the server.
func (v *fixedVisit) ended() {
	if v.server != nil {
		v.server.Close()
		v.of.dials.forget(v.server)
	}
}

// header is the PROXY header for a connection from source to dest, or nothing.
func (f *fixed) header(source, dest net.Addr, name string) ([]byte, error) {
	if f.ProxyProtocol == 0 {
		return nil, nil
	}
	h := proxyproto.HeaderProxyFromAddrs(byte(f.ProxyProtocol), source, dest)
	if f.ProxyProtocol == 2 && name != "" {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)}}); err != nil {
			return nil, fmt.Errorf("encode PROXY header: %w", err)
		}
	}
	return h.Format()
}

// A visitorEnd is the visitor as DialProxy has it.
type visitorEnd struct {
	sni.Conn
	v *fixedVisit
}

// WriteTo carries both directions.
func (e visitorEnd) WriteTo(io.Writer) (int64, error) {
	defer close(e.v.carried)
	r := duplex.Copy(direct(e.v.conn), e.v.server, duplex.Options{Linger: lingerTimeout, Unanswered: unansweredTimeout, Panics: e.v.of.panics})
	return r.AtoB, r.Err
}

// A serverEnd is the server as DialProxy has it.
type serverEnd struct {
	sni.Conn
	v *fixedVisit
}

// WriteTo waits until the visitor's end has carried everything.
func (e serverEnd) WriteTo(io.Writer) (int64, error) {
	<-e.v.carried
	return 0, nil
}

var (
	_ duplex.Conn = (*visitorEnd)(nil)
	_ duplex.Conn = (*serverEnd)(nil)
)

// dials are the server's own connections to servers of the operator's, so that one
// which comes back to its own ports is known. The zero value is ready.
type dials struct {
	mu   sync.Mutex
	open map[netip.AddrPort][]netip.AddrPort // where they lead, by their own address
}

// dial connects to addr, unless ctx or srv ends before. The caller forgets the
// connection when it is over.
func (d *dials) dial(ctx, srv context.Context, addr string) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(srv, cancel)()
	var nd net.Dialer
	nd.SetMultipathTCP(false) // the kernel splices plain TCP alone
	c, err := nd.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = make(map[netip.AddrPort][]netip.AddrPort)
	}
	own := addrPort(c.LocalAddr())
	d.open[own] = append(d.open[own], addrPort(c.RemoteAddr()))
	return c.(*net.TCPConn), nil
}

func (d *dials) forget(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := addrPort(c.LocalAddr())
	list := d.open[own]
	if i := slices.Index(list, addrPort(c.RemoteAddr())); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if d.open[own] = list; len(list) == 0 {
		delete(d.open, own)
	}
}

// has reports whether a connection that was accepted is one of these, or one that a
// proxy has passed on, as its header says. A visitor on this machine may come from the same
// port as one of these, to another address: one that leads to loopback arrives nowhere else,
// unless this machine's own firewall leads it elsewhere. One that leads to another address
// may have that changed on its way, and a proxy may not say where it arrived.
func (d *dials) has(accepted net.Conn) bool {
	direct := socket.Innermost(accepted)
	from, to, behind := addrPort(direct.RemoteAddr()), addrPort(direct.LocalAddr()), addrPort(accepted.RemoteAddr())
	d.mu.Lock()
	defer d.mu.Unlock()
	if behind != from && len(d.open[behind]) > 0 {
		return true
	}
	return slices.ContainsFunc(d.open[from], func(leads netip.AddrPort) bool { return leads == to || !leads.Addr().IsLoopback() })
}

// addFixed adds those of visitors of the operator's own servers.
func (m meters) addFixed(st *stats) {
	for kind, g := range map[string]*gauge{"static": &st.static, "fallback": &st.fallback} {
		m.gaugeOf("keystay_fixed_visitors", "Visitors of the operator's own servers, behind static and fallback, that are being served.",
			"to", kind, func() float64 { return float64(g.current()) })
		m.counterOf("keystay_fixed_visitors_total", "Visitors that were led to the operator's own servers; those that these did not take are in keystay_refused_total, too.",
			"to", kind, g.sum)
	}
}
