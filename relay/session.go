package relay

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/sni"
)

// claimTimeout is how long a remote may stay without a name.
const claimTimeout = 30 * time.Second

// A session is the authenticated link from a remote, from the relay's side.
type session struct {
	srv   *Server
	link  *framing.Link
	key   ed25519.PublicKey
	run   framing.Run
	id    string // names the identity in logs
	log   *slog.Logger
	names []string    // granted; guarded by srv.presence.mu
	up    atomic.Bool // it was let in
	away  atomic.Bool // the remote has said that it goes
	gone  sync.Once   // leave
}

// serveLink speaks with a remote until its link is over. It owns c, which is
// the TLS connection of cs, or runs in it.
func (s *Server) serveLink(c net.Conn, cs *tls.ConnectionState) {
	link, hello, err := framing.Server(s.ctx, c)
	if err != nil {
		s.log.Debug("a link did not say hello", "remote", c.RemoteAddr(), "err", err)
		return
	}
	if err := hello.Verify(cs, s.Domain); err != nil {
		s.log.Warn("a remote was refused", "remote", c.RemoteAddr(), "err", err)
		link.Refuse(framing.Refusal{Code: framing.RefusedProof,
			Text: "the proof of identity does not fit this connection: something between you and the relay ends TLS"})
		return
	}
	sess := &session{srv: s, link: link, key: hello.Key, run: hello.Run, id: keyname.Label(hello.Key, "")}
	sess.log = s.log.With("identity", sess.id, "remote", c.RemoteAddr(), "run", sess.run.Number)
	sess.serve()
}

func (sess *session) serve() {
	s := sess.srv
	s.presence.join(sess)
	defer s.presence.leave(sess)
	if s.ctx.Err() != nil { // Close has looked for links already
		sess.link.Close()
		return
	}
	if s.departing() != nil {
		sess.link.Refuse(framing.Refusal{Code: framing.RefusedBusy, Text: "this process of the relay is about to end: dial again"})
		return
	}
	// The time limit is set before the remote is let in: a claim stops it.
	idle := time.AfterFunc(claimTimeout, sess.closeIdle)
	defer idle.Stop()
	err := sess.link.Welcome(framing.Welcome{PublicPort: uint16(s.publicPort()), Agent: "keystay-relay/" + s.Version},
		framing.Handler{Claim: sess.claim, Order: sess.order, GoAway: sess.goAway})
	if err != nil {
		sess.log.Debug("a link ended before it began", "err", err)
		return
	}
	sess.log.Info("remote connected")
	sess.up.Store(true)
	if s.departing() != nil { // leave may have looked before it was up
		s.wg.Go(sess.leave)
	}
	<-sess.link.Done()
	if err := s.Names.seen(sess.granted(), sess.key); err != nil {
		sess.log.Warn("cannot keep when the names were last used", "err", err)
	}
	err = sess.link.Err()
	level := slog.LevelInfo
	if errors.Is(err, framing.ErrProtocol) {
		level = slog.LevelWarn
	}
	sess.log.Log(context.Background(), level, "remote disconnected", "reason", framing.Ending(err), "rtt", sess.link.RTT())
}

// leave tells the remote that the server leaves, and ends the link when its
// last stream is over. A remote that is not let in yet learns it later.
func (sess *session) leave() {
	if !sess.up.Load() {
		return
	}
	sess.gone.Do(func() {
		d := sess.srv.departing()
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
	if len(sess.granted()) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(sess.srv.ctx, time.Second)
	defer cancel()
	sess.link.GoAway(ctx, framing.GoAway{Code: framing.GoAwayIdle, Text: "no name was claimed"})
	sess.link.Close()
}

// claim decides about one CLAIM and makes the name lead here.
func (sess *session) claim(c framing.Claim) error {
	s := sess.srv
	name, err := sni.Normalize([]byte(c.Name))
	if err != nil || name != c.Name {
		// The log gets no name that may be anything.
		return sess.denied(&framing.Denial{Code: framing.DeniedInvalid, Text: "not a host name in lower case"})
	}
	if sess.away.Load() {
		return sess.denied(&framing.Denial{Name: name, Code: framing.DeniedUnavailable, Text: "this link is going away"})
	}
	if err := s.Names.claim(s.Domain, name, sess.key, c.Token); err != nil {
		return sess.denied(err)
	}
	if err := s.presence.claim(sess, c); err != nil {
		return sess.denied(err)
	}
	sess.log.Info("name is up", "name", name)
	return nil
}

// order begins or ends a replica's turn to order a certificate.
func (sess *session) order(name string, begins bool) bool {
	return sess.srv.presence.order(sess, name, begins)
}

func (sess *session) denied(err error) error {
	var d *framing.Denial
	if errors.As(err, &d) {
		sess.log.Info("claim denied", "name", d.Name, "reason", d.Text)
		return err
	}
	sess.log.Error("cannot decide about a claim", "err", err)
	return fmt.Errorf("decide: %w", err)
}

// goAway ends new visitors for a remote that drains.
func (sess *session) goAway(g framing.GoAway) {
	sess.away.Store(true)
	sess.srv.presence.withdraw(sess)
	sess.log.Info("remote is going away", "code", g.Code, "reason", g.Text)
}
