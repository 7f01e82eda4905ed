package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/relay/names"
)

const (
	// claimTimeout is how long a remote may stay without a name.
	claimTimeout = 30 * time.Second
	// deniedLines and refusedLines are how many claims that are denied, and
	// remotes that are refused, are logged in a minute. Anybody can cause them.
	deniedLines  = 30
	refusedLines = 10
	// bannedLines is how often in an hour OnBanned is called: it is for an audit log,
	// which is to last.
	bannedLines = 20
	// linkLines is the same for remotes that connect, for names that come up, and for
	// remotes that go away or are gone. Anybody can cause each of these, with keys made
	// at will, even where the policy gives out no names.
	linkLines = 300
	// undecidedAgain is after how long it is logged again that the record of names
	// does not let a claim be decided.
	undecidedAgain = time.Hour
)

// lines bounds what remotes can make the relay log.
type lines struct{ denied, refused, undecided, unseen, connected, up, gone, usual, banned quota }

// A session is the authenticated link from a remote, from the relay's side.
type session struct {
	srv      *Server
	link     *framing.Link
	key      ed25519.PublicKey
	run      framing.Run
	agent    unique.Handle[string] // the remote's program, by its own word; most have the same
	since    int64                 // when it came, in seconds since 1970
	identity *identity
	names    []string          // that it has been granted; guarded by srv.presence.mu
	leads    int               // how many names lead here; likewise
	calls    map[string]string // what the remote calls its ports, by their names; likewise
	up       atomic.Bool       // it was let in
	away     atomic.Bool       // the remote has said that it goes, or the session was cut
	gone     sync.Once         // runs the rest of leave once
	tried    guesses           // used by claim alone, which is called for one claim at a time
	shown    shown             // likewise
	heard    uint64            // the version of nodeNews that it was told; guarded by srv.news.mu
	// unclaimed runs closeIdle after claimTimeout without a name.
	unclaimed *time.Timer
	conn      *admitted // ended with the session
}

// log is made when it is needed: kept, it would be a good part of what an idle
// link costs.
func (sess *session) log() *slog.Logger {
	return sess.srv.log.With("identity", keyname.Label(sess.key, ""), "remote", sess.link.RemoteAddr(), "run", sess.run.Number)
}

// serveLink lets a remote in. It owns c, which is the TLS connection of cs, or
// runs in it. It reports whether there is a session. If there is, a is ended when the
// link is over, long after serveLink has returned, and no goroutine waits for that: a
// stack is a good part of what an idle link costs. The place of a is given up once
// the remote has proved its key: from then on the key accounts for the link.
func (s *Server) serveLink(c net.Conn, cs *tls.ConnectionState, a *admitted) (kept bool) {
	s.wg.Add(1) // so that Close waits for this, also when a has ended
	defer s.wg.Done()
	var sess *session
	defer s.panics.Catch("letting a remote in", func() {
		a.place.end()
		socket.Abort(c)
		if kept = sess != nil; kept && !sess.up.Load() { // else Link calls over, which does it
			s.shares.devices.lost(sess.identity)
			sess.end()
		}
	})
	link, hello, err := framing.Server(s.ctx, c)
	if err != nil {
		s.log.Debug("a link did not say hello", "remote", c.RemoteAddr(), "err", err)
		return false
	}
	if err := hello.Verify(cs, s.Domain); err != nil {
		if left, ok := s.lines.refused.take(refusedLines, time.Minute); ok {
			s.log.Warn("a remote was refused", "remote", c.RemoteAddr(), "err", err, left)
		}
		link.Refuse(framing.Refusal{Code: framing.RefusedProof,
			Text: "the proof of identity does not fit this connection: something between you and the relay ends TLS"})
		return false
	}
	if why := a.from.Link(); a.refusal == nil && why != limits.None {
		a.refusal = tooMany(why)
	}
	if a.refusal != nil {
		link.Refuse(*a.refusal)
		return false
	}
	id, refusal := s.shares.admitLink(hello.Key)
	if refusal != nil {
		link.Refuse(*refusal)
		return false
	}
	if a.place.end() { // the connection was closed for want of memory
		s.shares.outOfMemory()
		link.Close()
	}
	sess = &session{srv: s, link: link, key: bytes.Clone(hello.Key), run: hello.Run,
		agent: unique.Make(hello.Agent), since: time.Now().Unix(), identity: id, conn: a}
	s.presence.join(sess)
	if !sess.begin() {
		s.shares.devices.lost(sess.identity)
		sess.end()
	}
	return true
}

// begin lets the remote in. It reports false when there is no session.
func (sess *session) begin() bool {
	s := sess.srv
	if s.ctx.Err() != nil { // Close has looked for links already
		sess.link.Close()
		return false
	}
	if s.departure.Load() != nil {
		sess.link.Refuse(framing.Refusal{Code: framing.RefusedBusy, Text: "this process of the relay is about to end: dial again"})
		return false
	}
	// Asked here, where Cut finds the session, so that none slips in between.
	var b names.Ban
	banned := names.Sure(s.ctx, s.Names, func() error {
		var hit bool
		if b, hit = s.Names.Banned("", sess.key, sess.source()); !hit {
			return nil
		}
		why := CutOf(b).Why
		return &why
	})
	if banned != nil {
		if left, ok := s.lines.refused.take(refusedLines, time.Minute); ok {
			sess.log().Info("a remote that is banned was refused", "reason", b.Reason, left)
			sess.tellBanned("", b.Text())
		}
		refusal := framing.Refusal{Code: framing.RefusedBanned, Text: b.Text()}
		if !errors.As(banned, new(*names.Denied)) {
			refusal = framing.Refusal{Code: framing.RefusedBusy, Text: "the relay could not tell now whether a ban is over: it cannot reach its record of names"}
		}
		sess.link.Refuse(refusal)
		return false
	}
	if left, ok := s.lines.connected.take(linkLines, time.Minute); ok {
		sess.log().Info("remote connected", left)
	}
	// The time limit is set before the remote is let in: a name stops it, see meetLocked.
	sess.unclaimed = time.AfterFunc(claimTimeout, sess.closeIdle)
	welcome := framing.Welcome{PublicPort: uint16(s.sockets.publicPort()), Agent: "keystay-relay/" + s.Version, Capabilities: framing.CapabilityReturn}
	if !s.NoLanes {
		welcome.Capabilities |= framing.CapabilityLanes
	}
	if s.ports.offered() {
		welcome.Capabilities |= framing.CapabilityPorts
	}
	welcomed := func() {
		sess.up.Store(true)
		s.news.tell(sess) // a link without room hears of the next change
	}
	err := sess.link.Welcome(welcome, framing.Handler{Welcomed: welcomed, Claim: sess.claim, Release: sess.release, Unclaim: sess.unclaim, Order: sess.order, GoAway: sess.goAway,
		LaneTokens: sess.laneTokens, Memory: sess.identity.memory, Stalls: &s.stats.stalls, Panics: s.panics, Over: sess.over})
	if err != nil {
		if left, ok := s.lines.gone.take(linkLines, time.Minute); ok {
			sess.log().Info("remote disconnected", "reason", framing.Ending(err), left)
		}
		return false
	}
	s.stats.links.Add(1)

	if s.departure.Load() != nil { // leave may have looked before it was up
		s.wg.Go(sess.leave)
	}
	return true
}

// over is called when the link of a session that was let in is over.
func (sess *session) over() {
	s := sess.srv
	defer s.panics.Catch("ending a session", sess.end)
	s.shares.devices.lost(sess.identity)
	s.Names.Remember(sess.granted()) // before visitors look for them
	s.presence.outlive(sess)
	// Once a server leaves, the new process may have the record.
	if err := s.Names.Seen(sess.granted(), sess.key); err != nil && s.departure.Load() == nil {
		if left, ok := s.lines.unseen.take(1, undecidedAgain); ok {
			sess.log().Warn("cannot keep when the names were last used", "err", err, hint.Attr(hint.All(err)), left)
		}
	}
	err := sess.link.Err()
	level := slog.LevelInfo
	if errors.Is(err, framing.ErrProtocol) {
		level = slog.LevelWarn
	}
	if left, ok := s.lines.gone.take(linkLines, time.Minute); ok {
		sess.log().Log(context.Background(), level, "remote disconnected", "reason", framing.Ending(err), "rtt", sess.link.RTT(), left)
	}
	sess.link.WaitIdle(s.ctx) // lanes outlive the link
	sess.end()
}

// end undoes all that serveLink and begin have done.
func (sess *session) end() {
	if sess.unclaimed != nil {
		sess.unclaimed.Stop()
	}
	sess.srv.presence.leave(sess)
	sess.srv.shares.devices.leave(sess.identity)
	sess.conn.end()
}

// leave tells the remote that the server leaves, and ends the link when its
// last stream is over. A remote that is not let in yet learns it later.
func (sess *session) leave() {
	defer sess.srv.panics.Catch("telling a remote that the relay leaves", func() { sess.link.Close() })
	if !sess.up.Load() {
		return
	}
	sess.gone.Do(func() {
		d := sess.srv.departure.Load()
		tell, cancel := context.WithTimeout(d.ctx, goAwayTimeout)
		sess.link.GoAway(tell, d.goAway)
		cancel()
		select {
		case <-d.settled:
		case <-d.ctx.Done():
		case <-sess.link.Done():
		}
		if sess.link.WaitIdle(d.ctx) == nil {
			sess.link.Close()
		}
	})
}

// granted returns the names of the session.
func (sess *session) granted() []string {
	p := &sess.srv.presence
	p.mu.RLock()
	defer p.mu.RUnlock()
	return sess.names
}

func (sess *session) closeIdle() {
	defer sess.srv.panics.Catch("closing an idle link", func() { sess.link.Close() })
	if !sess.srv.presence.isIdle(sess) {
		return
	}
	if sess.link.NumStreams() > 0 { // of names that it had
		sess.unclaimed.Reset(claimTimeout)
		return
	}
	ctx, cancel := context.WithTimeout(sess.srv.ctx, time.Second)
	defer cancel()
	sess.link.GoAway(ctx, framing.GoAway{Code: framing.GoAwayIdle, Text: "the link has no name"})
	sess.link.Close()
}

// source is the address that the remote's link comes from.
func (sess *session) source() netip.Addr { return addrPort(sess.link.RemoteAddr()).Addr() }

// goAway ends new visitors for a remote that drains.
func (sess *session) goAway(g framing.GoAway) {
	first := !sess.away.Swap(true)
	sess.srv.Names.Remember(sess.granted())
	sess.srv.presence.withdraw(sess)
	if !first {
		return
	}
	if left, ok := sess.srv.lines.gone.take(linkLines, time.Minute); ok {
		sess.log().Info("remote is going away", "code", g.Code, "reason", g.Text, left)
	}
}
