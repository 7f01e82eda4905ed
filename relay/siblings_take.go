package relay

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/publicaddr"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// siblingTakeTimeout is takeTimeout for a visitor that a sibling has passed on: it is over
// well before siblingAnswerTimeout. Else one device that takes no hello would make its
// relay look like one that is down, for all names.
const siblingTakeTimeout = siblingAnswerTimeout / 2

// takeTimeout is how long remotes may take together to take the visitor's hello: a device may
// go from link to link meanwhile, and who has passed the visitor on waits for all of that.
func (v *visitor) takeTimeout() time.Duration {
	if v.taking != nil {
		return siblingTakeTimeout
	}
	return takeTimeout
}

// A mark says of a connection that a sibling passes it on.
type mark struct {
	kind framing.Kind
	from string // the sibling's name, as it says
	name string // that the visitor is for, as it says
}

// parseMark parses the value of a mark. It reports false for one that cannot be taken.
func parseMark(b []byte, name string) (m mark, ok bool) {
	if len(b) < 3 || b[0] != markVersion || len(b)-2 > hostname.Max {
		return m, false
	}
	m = mark{kind: framing.Kind(b[1]), from: string(b[2:]), name: name}
	return m, m.kind == framing.KindTLS || m.kind == framing.KindHTTP01
}

// A taking is a visitor that a sibling has passed on to here.
type taking struct {
	*sibling
	mark
	dialled netip.Addr // where the sibling has come from

	key  ed25519.PublicKey // of the device that has named the sibling
	made bool              // the name is made from it
}

// end gives its place back. It may be called for nil.
func (t *taking) end() {
	if t != nil {
		t.in.leave(t.key, t.made)
	}
}

// fromSibling reads the header that a connection from the address of a sibling may begin
// with. It returns the connection of whoever it is: a visitor that is passed on, which a
// tells then, or any other that comes from there. Where that cannot be, c is closed and
// nil returned.
func (d *door) fromSibling(c sni.Conn, a *admitted, from *sibling) sni.Conn {
	place := d.shares.unfinished.begin(c, helloBuffer)
	if place == nil {
		d.shares.outOfMemory()
		c.Close()
		return nil
	}
	p, err := readProxied(c)
	gone := place.end()
	if errors.Is(err, errNoProxyHeader) && p != nil && !gone || err == nil && !gone && p.mark == nil && p.source == nil {
		return d.counted(p, a) // it comes as itself
	}
	if err != nil || gone || p.mark == nil {
		if !errors.Is(err, io.EOF) {
			d.refused[refusedNoHeader].Add(1)
		}
		c.Close()
		return nil
	}
	t := &taking{sibling: from, mark: *p.mark, dialled: addrPort(c.RemoteAddr()).Addr()}
	if why := d.admitTaking(p, t, a); why != 0 {
		d.refused.answerNo(p, why, refusedBySibling)
		return nil
	}
	a.taking = t
	d.sockets.isNow(a, p)
	return p
}

// counted counts a connection from the address of a sibling that comes as itself, unless
// that was done before.
func (d *door) counted(c sni.Conn, a *admitted) sni.Conn {
	if a.from == nil {
		var why limits.Reason
		if a.from, why = d.addresses.Connect(c); why != limits.None {
			socket.Abort(c)
			return nil
		}
	}
	return c
}

// admitTaking counts a visitor that a sibling passes on, or returns the alert that it is
// refused with. What the sibling says of the visitor is its word alone.
func (d *door) admitTaking(p *proxied, t *taking, a *admitted) sni.Alert {
	w, named := d.router.siblings.of(t.name)
	t.key, t.made = w.key, d.router.kindOf(t.name) == madeName
	switch {
	case t.mark.from != t.sibling.Name: // it has another name here, or is another one
		d.tellStranger(t)
		return sni.AlertUnrecognizedName
	case d.dials.has(p): // it is this relay itself
		return sni.AlertUnrecognizedName
	case d.router.banned(t.dialled):
		return sni.AlertAccessDenied
	case !named: // nobody has named it, so it has no part of the places
		return sni.AlertUnrecognizedName
	case !t.in.enter(t.key, t.made):
		return sni.AlertInternalError
	}
	if t.kind == framing.KindHTTP01 { // asked by a CA, for which no address counts
		return 0
	}
	if visitor := addrPort(p.RemoteAddr()).Addr(); p.source != nil && mayComeFrom(visitor, t.dialled) {
		a.from.Close()
		var why limits.Reason
		if a.from, why = t.visitors.Connect(p); why == limits.None {
			return 0
		}
	}
	t.end()
	return sni.AlertAccessDenied // of this visitor alone: others of the name are passed on still
}

// mayComeFrom reports whether a sibling with an address may say of a visitor that it
// comes from another one. Nobody comes to a relay of the internet from an address that
// is not of it, and which a device may take for one that is near.
func mayComeFrom(visitor, sibling netip.Addr) bool {
	return publicaddr.Is(visitor) || !publicaddr.Is(sibling)
}

// tellStranger logs that a sibling calls itself by another name than it has here.
func (d *door) tellStranger(t *taking) {
	if left, ok := d.strangers.take(1, time.Minute); ok {
		d.log.Warn("a sibling passes visitors on under another name than siblings has for its address", "sibling", t.sibling.Name, hint.Attr(hint.SiblingStranger.Do), left)
	}
}

// answerNo tells a sibling that a visitor is not taken, and with which alert.
func (r *refusals) answerNo(c sni.Conn, alert sni.Alert, why whyRefused) {
	r[why].Add(1)
	c.SetWriteDeadline(time.Now().Add(sni.RefuseTimeout))
	_, _ = c.Write([]byte{byte(alert)})
	sni.Leave(c)
}

// answerYes tells a sibling that its visitor has been taken.
func answerYes(c net.Conn) {
	c.SetWriteDeadline(time.Now().Add(sni.RefuseTimeout))
	_, _ = c.Write([]byte{siblingTaken}) // an error is one of what follows, too
	c.SetWriteDeadline(time.Time{})
}

// findTaken returns where a visitor goes that a sibling has passed on: to a session of a
// remote whose device has named the sibling, at once, or nowhere.
func (r *router) findTaken(v *visitor) lead {
	nobody := lead{to: nowhere, alert: sni.AlertUnrecognizedName, why: refusedBySibling}
	if r.banned(v.address()) || r.banned(v.taking.dialled) {
		return lead{to: nowhere, alert: sni.AlertAccessDenied, why: refusedBanned}
	}
	if v.name != v.taking.name || v.name == r.domain || r.front.Load().static(v.name) != nil {
		return nobody
	}
	sess, rules := r.presence.find(v.name, v.validation)
	if sess == nil || !r.isFrom(v.taking.sibling, v.name, sess) {
		return nobody
	}
	l := lead{to: toSession, session: sess, rules: rules}
	if !v.validation && !r.admits(&l, v.address()) {
		return lead{to: unwanted, alert: sni.AlertAccessDenied, why: refusedByRule}
	}
	return l
}

// isFrom reports whether the device that serves a name on a session has named a sibling: by
// the key of the session, or by the one to which that has handed over.
func (r *router) isFrom(from *sibling, name string, sess *session) bool {
	return r.siblings.isFor(name, sess.key, from) || r.siblings.isFor(name, r.presence.holder(name), from)
}

// takeChallenge serves a CA's HTTP-01 request that a sibling has passed on. It reports
// whether the connection is kept.
func (s *Server) takeChallenge(c sni.Conn, a *admitted) (kept bool) {
	t := a.taking
	sess, _ := s.presence.find(t.name, true)
	if sess == nil || !s.router.isFrom(t.sibling, t.name, sess) {
		s.stats.refused.answerNo(c, sni.AlertUnrecognizedName, refusedBySibling)
		return false
	}
	visit, _ := s.bounds.owners.Begin(t.name, sess.key, true) // which is never refused
	stream, err := sess.link.Open(challengeHeader(t.name, c.LocalAddr()), nil)
	if err != nil {
		visit.End()
		s.stats.refused.answerNo(c, sni.AlertInternalError, refusedNotTaken)
		return false
	}
	until := time.Now().Add(challengeTimeout)
	stream.SetDeadline(until)
	a.heard = time.Since(s.began)
	a.far, a.visit, a.name = stream, visit, t.name
	answerYes(c)
	s.transit.serve(c, a)
	return true
}
