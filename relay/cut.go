package relay

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/hostname"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/relay/names"
)

// cutGrace is how long a remote has to take what it is told before its link is
// closed: what is cut is over within a second. Its streams and lanes are cut at
// once.
const cutGrace = 500 * time.Millisecond

// A Cut says what is to end now, and what remotes are told of it.
type Cut struct {
	// One of these is set, or Identity and Name: then it is that name of that
	// identity alone.
	Identity  string         // all links of this identity, by the label made from its key
	Name      string         // a name
	Address   netip.AddrPort // the link from there
	Addresses netip.Prefix   // the remotes and the visitors that come from there

	// Why is what remotes are told. With a Code the name, or all names of a link, are
	// lost, and the caller has seen to it that they are denied from now on. Without a
	// Code links are ended whose remotes may dial again at once; then Name stands for
	// the links of the remotes that serve it. Why.Name is not used.
	Why names.Denied

	// Earlier are identities that have handed over to Identity, where the record may be
	// closed and cannot tell.
	Earlier []string

	// Elsewhere says that another node has cut it, too, so that the nodes know.
	Elsewhere bool

	key []byte                // of the identity, where it is known: then only what may be its is looked at
	of  func(key []byte) bool // whether what is of a key is cut with the identity, see cutter.whose
}

// Severed counts what a Cut has ended.
type Severed struct {
	Links    int
	Names    int // that remotes have lost
	Visitors int // that had reached a remote
}

// severing adds up a Severed.
type severing struct {
	mu    sync.Mutex
	sum   Severed
	names map[string]struct{}
}

func (n *severing) add(link bool, names []string, visitors int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if link {
		n.sum.Links++
	}
	for _, name := range names {
		n.names[name] = struct{}{}
	}
	n.sum.Names = len(n.names)
	n.sum.Visitors += visitors
}

// Cut ends links, streams and lanes, and returns when it is done, within a second.
// What a decision from before lets in meanwhile is ended by whoever lets it in. What
// another node has cut is not waited for, see cutSoon.
func (s *Server) Cut(c Cut) Severed {
	s.init()
	if c.Elsewhere {
		return s.cutter.cutSoon(c)
	}
	return s.cutter.cut(c)
}

// A cutter ends what may not go on.
type cutter struct {
	ctx       context.Context // of the server
	panics    *panics.Log
	cuts      *atomic.Uint64 // see Server.cuts
	onCut     func(Cut)      // see Server.OnCut
	presence  *presence
	names     *names.Names
	offers    *offers
	sockets   *sockets
	siblings  *siblings
	crossings *crossings
}

// cut is Server.Cut.
func (k *cutter) cut(c Cut) Severed {
	sum, end := k.begin(c)
	end()
	return sum
}

// cutSoon is cut, but does not wait until remotes have taken what they are told, or cutGrace
// is over: else many that take nothing would hold up what is cut next.
func (k *cutter) cutSoon(c Cut) Severed {
	sum, end := k.begin(c)
	go func() { // for cutGrace, or until the server is closed
		defer k.panics.Catch("cutting what another node has cut", func() {})
		end()
	}()
	return sum
}

// begin cuts names and visitors, and begins to tell remotes whose links are cut. End waits
// for these, and cuts the rest.
func (k *cutter) begin(c Cut) (sum Severed, end func()) {
	k.cuts.Add(1)
	if k.onCut != nil {
		k.onCut(c)
	}
	c.of = k.whose(c)
	n := &severing{names: make(map[string]struct{})}
	n.add(false, nil, k.offers.reset(c.takes))
	// All visitors first: a remote that is told ends its other links by itself.
	var ended []dismissal
	for _, sess := range k.presence.concerned(&c) {
		if c.ends(sess) {
			ended = append(ended, sess.dismiss(c.Why, n))
		} else {
			sess.lose(c, n)
		}
	}
	if c.Why.Code != 0 { // else the device may come again at once
		k.siblings.forget(c.names, c.isWhose)
	}
	n.add(false, nil, k.crossings.cut(c))
	var wg sync.WaitGroup
	for _, d := range ended {
		wg.Go(func() {
			defer k.panics.Catch("cutting a link", func() { d.link.Close() })
			d.close(c.Why)
		})
	}
	return n.sum, func() {
		wg.Wait()
		if c.Addresses.IsValid() { // links among them, whose remotes have been told by now
			k.sockets.abort(c.Addresses)
		}
	}
}

// isWhose reports whether what is of a key is cut with the identity, if there is one.
func (c *Cut) isWhose(key []byte) bool { return c.Identity == "" || c.of(key) }

// names reports whether a name is cut, of whomever it is and connected or not.
func (c *Cut) names(name string) bool {
	return !c.Address.IsValid() && !c.Addresses.IsValid() && (c.Name == "" || c.covers(name))
}

// ends reports whether a whole session is cut.
func (c *Cut) ends(sess *session) bool {
	switch {
	case c.Name != "" && c.Why.Code != 0:
		return false
	case c.Name != "":
		return slices.Contains(sess.granted(), c.Name) && c.isWhose(sess.key)
	case c.Address.IsValid():
		return addrPort(sess.link.RemoteAddr()) == c.Address
	case c.Addresses.IsValid():
		return c.Addresses.Contains(sess.source())
	}
	return c.isWhose(sess.key)
}

// covers reports whether a name is lost: a ban is for those below it, too.
func (c *Cut) covers(name string) bool {
	return name == c.Name || c.Why.Code == names.DeniedBanned && hostname.IsBelow(name, c.Name)
}

// lose takes what is cut away from a session that stays: its names, or visitors from
// the addresses.
func (sess *session) lose(c Cut, n *severing) {
	switch {
	case c.Name == "" && !c.Addresses.IsValid(): // it ends whole sessions alone
	// Asked first, since it costs less, and a token may have opened thousands of names.
	case c.Identity != "" && !sess.hasAny(c.covers):
	case !c.isWhose(sess.key):
	case c.Addresses.IsValid():
		n.add(false, nil, sess.link.CutStreams(func(s *framing.Stream) bool { return c.Addresses.Contains(s.Header().Source.Addr()) }))
	case c.Name != "" && c.Why.Code != 0:
		lost := sess.srv.presence.drop(sess, c.covers)
		sess.revokeAll(lost, c.Why)
		n.add(false, lost, sess.link.CutStreams(func(s *framing.Stream) bool { return c.covers(s.Header().Name) }))
	}
}

// revokeAll tells the remote that it has lost names.
func (sess *session) revokeAll(lost []string, why names.Denied) {
	for _, why.Name = range lost {
		sess.revoke(*denial(&why))
	}
}

// A dismissal is a session that is about to be ended, and what its remote is told.
type dismissal struct {
	*session
	up   bool     // its link was, and can tell
	lost []string // the names that the remote has lost
}

// dismiss begins to end a session: it gets no visitors any more, and those that it has
// are cut.
func (sess *session) dismiss(why names.Denied, n *severing) dismissal {
	sess.away.Store(true) // so that it claims nothing more
	d := dismissal{session: sess, up: sess.link.Err() == nil}
	had := sess.granted()
	sess.srv.Names.Remember(had) // before visitors look for them
	sess.srv.presence.withdraw(sess)
	if d.up && why.Code != 0 {
		d.lost = had
	}
	n.add(d.up, d.lost, sess.link.CutStreams(all))
	return d
}

// all matches every stream.
func all(*framing.Stream) bool { return true }

// close tells the remote why, for which it has cutGrace, and closes its link.
func (d dismissal) close(why names.Denied) {
	sess := d.session
	sess.revokeAll(d.lost, why)
	if d.up && sess.up.Load() { // else nothing can be told
		ctx, cancel := context.WithTimeout(sess.srv.ctx, cutGrace)
		_ = sess.link.GoAway(ctx, framing.GoAway{Code: framing.GoAwayShutdown, Text: why.Text})
		cancel()
	}
	sess.link.Close()
	sess.link.CutStreams(all) // those that were being opened
}

// abort resets the connections to the public port from a range of addresses,
// whatever they are.
func (k *sockets) abort(from netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.rest.Wake()
	for a := range k.conns {
		by := socket.Innermost(a.conn).RemoteAddr() // a sibling, or a proxy
		if from.Contains(addrPort(a.conn.RemoteAddr()).Addr()) || a.taking != nil && from.Contains(addrPort(by).Addr()) {
			a.cut()
		}
	}
}

// all returns the sessions, and those whose link is lost: those that prove one key, or with
// nil all.
func (p *presence) all(key []byte) []*session {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if key != nil {
		return slices.Clone(p.of[string(key)])
	}
	all := make([]*session, 0, len(p.sessions)+len(p.lost))
	for _, m := range []map[*session]struct{}{p.sessions, p.lost} {
		for s := range m {
			all = append(all, s)
		}
	}
	return all
}

// drop takes the names that which says away from s, and returns them.
func (p *presence) drop(s *session, which func(string) bool) (dropped []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var kept []string
	for _, name := range s.names {
		if !which(name) {
			kept = append(kept, name)
			continue
		}
		dropped = append(dropped, name)
		p.withdrawLocked(s, name)
	}
	if len(dropped) > 0 {
		s.names = kept
	}
	return dropped
}

// has reports whether name still leads to s.
func (p *presence) has(s *session, name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := p.names[name]
	return h != nil && slices.Contains(h.sessions, s)
}
