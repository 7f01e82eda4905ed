package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inetaf/tcpproxy"

	"keystay/internal/panics"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// ErrServerClosed is returned by Serve and ServeHTTP01 after Shutdown or Close.
var ErrServerClosed = errors.New("relay: server closed")

// A Server is a relay. Its fields are set before the first call of Serve and
// not changed afterwards.
type Server struct {
	// Domain is the relay's own name and the zone of the names it gives out,
	// in lower case, without a trailing dot.
	Domain string

	// TLS has the certificate for Domain. Its NextProtos are left as they are for
	// browsers, but for h2, which the relay's site does not speak; those of links and
	// lanes are added. A GetConfigForClient may answer the CA's acme-tls/1 validations.
	TLS *tls.Config

	// Challenge answers ACME HTTP-01 requests for Domain; nil answers 404.
	Challenge http.Handler

	// Names decides who may use which name, and remembers it.
	Names *names.Names

	// PublicPort is where visitors reach the relay, told to each remote;
	// 0 means the port of the first listener given to Serve.
	PublicPort int

	// Memory is how many bytes links, unfinished hellos, visitors who wait and
	// connections for the relay itself may make the relay hold together. It is at least
	// MinMemory; 0 is DefaultMemory().
	Memory int64

	// DefaultName is the name that a visitor gets whose hello asks for none, or for
	// an address; empty refuses such a visitor, as any other for whom there is no
	// name.
	DefaultName string

	// NoLanes keeps all bytes on the links of the remotes. Otherwise bulk moves
	// to connections of its own, see section 8 of framing's PROTOCOL.md.
	NoLanes bool

	// Abuse is a public URL for complaints, or empty.
	Abuse string

	// AdminPage answers what ServeAdmin does not answer by itself, for this machine's
	// names and addresses and for AdminHosts; nil is 404.
	AdminPage http.Handler

	// AdminHosts are further names, in lower case, by which the admin address may be
	// asked, as a proxy in front of it passes them on.
	AdminHosts []string

	// Version is shown on the relay's page and to remotes.
	Version string

	// ListenPort listens on one of the public TCP ports that Names.Ports has, for a remote
	// that has got it; nil gives out no ports. The server closes the listeners.
	ListenPort func(port uint16) ([]net.Listener, error)

	// OnClaim is called with each name that a remote has got here, before the
	// remote is told; nil is for none. In a new process it tells the old one, see
	// [Server.ClaimedElsewhere].
	OnClaim func(Claimed)

	// OnBanned is called with a remote that a ban has refused, and with why. Name is the
	// name that it has claimed, or empty where it was not let in. Where that happens
	// often it is called for some of them. Nil is for none.
	OnBanned func(identity, name, why string)

	// OnCut is called with each Cut, before anything is cut here; nil is for none.
	// In a new process it tells the old one, which may have what is cut, too.
	OnCut func(Cut)

	// Nodes are the other nodes of this relay; nil where it runs on one machine.
	Nodes Nodes

	// NodeCounts is what the metrics show of the other nodes; nil shows nothing.
	NodeCounts func() NodeCounts

	// OnPresence is called with a name when the runs, or the identity, have changed that
	// are connected for it here, see [Server.Present]. It must not wait, nor call the
	// server; nil is for none.
	OnPresence func(name string)

	// Usage keeps the bytes that names and identities have carried this month, where
	// there is a limit for them; nil is Names. When the process is killed, what was
	// carried in its last minute is lost.
	Usage limits.Store

	// CertificateEnds is when the certificate for Domain ends, or the zero time where
	// there is none, for the metrics; nil tells nothing.
	CertificateEnds func() time.Time

	// Profiles adds net/http/pprof to the operator's address, at /debug/pprof/, where
	// that is a loopback address.
	Profiles bool

	// NamedMetrics is how many names the metrics have with visitors and bytes of their
	// own, up to [MaxNamedMetrics]; the others count together. 0 is none: then no name
	// is in the metrics.
	NamedMetrics int

	// Logger hears what remotes do, and nothing of visitors; nil discards.
	Logger *slog.Logger

	once      sync.Once
	began     time.Time
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup            // what Close waits for, beside sockets.wg
	leaving   chan struct{}             // closed with departure set
	departure atomic.Pointer[departure] // how it leaves; nil before
	cuts      atomic.Uint64             // how many calls of Cut there were, see session.decide and open

	words     atomic.Pointer[string] // see SetWords
	front     fronts
	siblings  siblings
	dials     dials
	crossings *crossings
	cutter    *cutter
	fixed     *fixedVisits
	opener    *opener
	transit   *transit
	sockets   *sockets
	door      *door
	router    *router
	presence  presence
	news      nodeNews
	lanes     laneTokens
	offers    *offers
	ports     *ports
	own       *ownTLS
	web       *web
	shares    *shares
	bounds    bounds
	hops      hops
	log       *slog.Logger
	lines     lines
	stats     stats
	measures  *measures
	traffic   traffic
	panics    *panics.Log
	errands   *errands
}

func (s *Server) init() {
	s.once.Do(func() {
		s.log = s.Logger
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.began = time.Now()
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.shares = newShares(s.Memory, s.log)
		s.leaving = make(chan struct{})
		if s.Usage == nil {
			s.Usage = s.Names
		}
		s.panics = &panics.Log{Logger: s.log, Passes: http.ErrAbortHandler}
		s.initVisits() // before the names begin, which may have something cut
		s.errands = &errands{ctx: s.ctx, panics: s.panics, names: s.Names, presence: &s.presence, cutter: s.cutter, wake: make(chan struct{}, 1)}
		s.Names.OnLost = s.cutter.lose
		s.Names.OnBans, s.Names.OnMoved, s.Names.OnRetired = s.errands.enforce, s.errands.moved, s.errands.retired
		s.Names.Begin(s.Domain)
		s.bounds.begin(s)
		s.initPorts()
		s.initWeb()
		s.wg.Go(func() { s.bounds.upkeep(s.ctx.Done(), s.log) })
		s.wg.Go(func() { s.Names.Upkeep(s.ctx, s.presence.holdings, s.log) })
		s.wg.Go(s.errands.run)
		s.wg.Go(func() { s.Names.Recheck(s.ctx, s.presence.holdings, s.log) })
		s.wg.Go(func() { s.web.site.Serve(s.web.handed) })
		s.wg.Go(func() { s.web.plain.Serve(s.web.behinds) })
	})
}

// initVisits makes what a visitor goes through, and what cuts it.
func (s *Server) initVisits() {
	s.presence.changed = s.OnPresence
	s.measures = newMeasures()
	s.traffic.first = s.measures.first
	s.hops.seconds = s.measures.hop
	if s.NamedMetrics > 0 {
		s.traffic.named = &namedTraffic{most: min(s.NamedMetrics, MaxNamedMetrics), served: s.presence.serves}
	}
	s.sockets = newSockets(s.log, s.PublicPort, &s.bounds, &s.front, &s.siblings, s.ctx.Done())
	s.sockets.panics = s.panics
	s.router = &router{held: s.measures.hold, domain: s.Domain, presence: &s.presence, names: s.Names, nodes: s.Nodes, hops: &s.hops, ctx: s.ctx, leaving: s.leaving, departure: &s.departure, front: &s.front, siblings: &s.siblings}
	s.door = &door{log: s.log, sockets: s.sockets, shares: s.shares, addresses: &s.bounds.addresses, router: s.router, dials: &s.dials, refused: &s.stats.refused}
	s.crossings = &crossings{log: s.log, router: s.router, dials: &s.dials, owners: &s.bounds.owners}
	s.offers = &offers{noLanes: s.NoLanes, news: &s.news, departure: &s.departure, names: s.Names, owners: &s.bounds.owners, shares: s.shares, router: s.router}
	s.opener = &opener{log: s.log, router: s.router, bounds: &s.bounds, shares: s.shares, descriptors: &s.sockets.descriptors, crossings: s.crossings, offers: s.offers, cuts: &s.cuts, dial: s.measures.dial}
	s.fixed = &fixedVisits{ctx: s.ctx, log: s.log, panics: s.panics, dials: &s.dials, shares: s.shares, refused: &s.stats.refused}
	s.transit = &transit{began: s.began, sockets: s.sockets, hops: &s.hops, traffic: &s.traffic, visitors: &s.stats.visitors, panics: s.panics}
	s.cutter = &cutter{ctx: s.ctx, panics: s.panics, cuts: &s.cuts, onCut: s.OnCut, presence: &s.presence, names: s.Names, offers: s.offers, sockets: s.sockets, siblings: &s.siblings, crossings: s.crossings}
}

// initWeb makes the servers that speak HTTP, and TLS for the relay's own name.
func (s *Server) initWeb() {
	s.own = newOwnTLS(s.TLS, s.NoLanes)
	site := site{domain: s.Domain, siblings: s.siblings.names, names: s.Names, sockets: s.sockets, abuse: s.Abuse, version: s.Version, link: s.serveWebSocket,
		words: s.words.Load, limits: s.bounds.config.Load}
	port80 := port80{log: s.log, pass: s.crossings.passChallenge, ctx: s.ctx, dials: &s.dials, router: s.router, shares: s.shares, sockets: s.sockets, challenge: s.Challenge}
	s.web = &web{behind: s.door.behindProxy, behinds: newHandoff("port 80"), ctx: s.ctx, panics: s.panics, sockets: s.sockets, shares: s.shares, handed: newHandoff(s.Domain)}
	s.web.site = s.web.server(site.handler(), maxSiteHead, answerTimeout)
	s.web.plain = s.web.server(port80.handler(), maxPlainHead, challengeTimeout+answerTimeout)
}

// Serve takes visitors and remotes from ln. It blocks, closes ln, and always
// returns an error: ErrServerClosed after Shutdown or Close. It may be called
// for several listeners at once.
//
// tcpproxy is the front: its Proxy accepts and has a goroutine for each
// connection, and its Target is the interface for what a connection leads to. It
// does not read the name: its matcher takes a hello in one record alone, without
// a deadline. Its price is a reader of 4 KiB for each connection, which nobody
// reads from and which is garbage as soon as the connection is routed; its API
// has no way around it.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	const public = "public"
	p := tcpproxy.Proxy{ListenFunc: func(_, _ string) (net.Listener, error) { return s.sockets.trackPublic(ln) }}
	p.AddRoute(public, target(s.handle))
	if err := p.Run(); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ErrServerClosed
}

// Close cuts everything and waits until it is gone. It does not close Names.
func (s *Server) Close() error {
	s.init()
	s.sockets.stop(false)
	s.ports.end()
	s.router.expected.none()
	s.cancel()
	s.web.close()
	s.sockets.cut()
	for _, l := range s.presence.links() {
		l.link.Close()
	}
	s.sockets.wg.Wait()
	s.wg.Wait()
	return nil
}

// Pause makes the server accept nothing, on any of its listeners, until Resume.
// When it has returned no connection is being accepted; those that arrive wait
// in the kernel. Every listener must have SetDeadline, as a *net.TCPListener
// has. If it fails nothing is paused.
func (s *Server) Pause() error {
	s.init()
	return s.sockets.pause()
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.init()
	s.sockets.resume()
}

// target is a function as a tcpproxy.Target.
type target func(net.Conn)

func (f target) HandleConn(c net.Conn) { f(c) }
