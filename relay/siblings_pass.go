package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/hint"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// A visitor that is passed on to a sibling takes one connection, to the sibling's public
// port. It begins with a PROXY protocol header of version 2, which has the visitor's
// addresses, the name as PP2_TYPE_AUTHORITY, and a mark; then the visitor's hello. The
// sibling answers one byte: 0 where its remote has the visitor, and all that follows is
// the visitor's, or else the number of an alert (RFC 8446, section 6), and an end.
// docs/federation.md has the whole of it.

const (
	// typeMark is the TLV of the mark, in the range that the PROXY protocol leaves to
	// applications: its version, the kind of what follows, and the name of the relay that
	// passes the visitor on. Such a visitor is never passed on again.
	typeMark    proxyproto.PP2Type = 0xE2
	markVersion uint8              = 1

	// siblingTaken is the answer of a sibling that has taken a visitor.
	siblingTaken = 0

	// siblingDialTimeout is how long a sibling may take to be connected, and
	// siblingAnswerTimeout how long then to answer.
	siblingDialTimeout   = 2 * time.Second
	siblingAnswerTimeout = 5 * time.Second
)

var (
	errHasNot         = errors.New("the sibling does not have the name")
	errNoMore         = errors.New("the sibling is not needed any more")
	errSiblingRefuses = errors.New("the sibling refuses the visitor")
	errCrossingCut    = errors.New("what is passed on was cut")
)

// crossings pass visitors on to siblings, and know those that these have taken or are asked
// to take.
type crossings struct {
	log    *slog.Logger
	router *router
	dials  *dials
	owners *limits.Owners

	mu  sync.Mutex
	all map[*crossing]struct{}
}

// A crossing is a visitor that a sibling has taken, or is asked to take.
type crossing struct {
	among *crossings
	to    *sibling
	name  string
	key   ed25519.PublicKey // of the device that has named the sibling
	conn  *net.TCPConn      // to the sibling; nil while that is asked, and guarded by among.mu until then
	lost  bool              // it was cut; guarded by among.mu
	visit *limits.Visit

	made       bool // the name is made from the key
	validation bool // it is a CA's
}

// end gives up what the server holds for the crossing. It may be called for nil.
func (p *crossing) end() {
	if p == nil {
		return
	}
	k := p.among
	k.forget(p)
	k.dials.forget(p.conn)
	p.conn.Close()
	p.to.out.leave(p.key, p.made)
	p.visit.End()
}

// cut ends the crossings of what is cut.
func (k *crossings) cut(c Cut) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.all {
		if !c.names(p.name) || !c.isWhose(p.key) {
			continue
		}
		if p.lost = true; p.conn != nil { // else the asking is in vain
			socket.Abort(p.conn)
			n++
		}
	}
	return n
}

// begin notes a crossing that a sibling is about to be asked for, so that cut finds it. It
// reports false where the device's word is gone by now.
func (k *crossings) begin(p *crossing) bool {
	k.mu.Lock()
	if k.all == nil {
		k.all = make(map[*crossing]struct{})
	}
	k.all[p] = struct{}{}
	k.mu.Unlock()
	return k.router.siblings.isFor(p.name, p.key, p.to) // afterwards: a cut takes the word first
}

func (k *crossings) forget(p *crossing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, p)
}

// taken notes the connection to the sibling that has taken the visitor. It reports false
// where the crossing was cut meanwhile.
func (k *crossings) taken(p *crossing, conn *net.TCPConn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.conn = conn
	return !p.lost
}

// pass asks the sibling that l leads to, to take a visitor with its hello. Without a
// crossing it returns where the visitor goes instead; where that is toSibling again it is
// to be asked anew where the name leads.
func (k *crossings) pass(v *visitor, l lead, hello []byte) (*crossing, lead) {
	visit, why := k.owners.Begin(v.name, l.key, v.validation)
	if why != limits.None {
		return nil, lead{to: nowhere, alert: sni.AlertInternalError, why: refusedLimited}
	}
	p := &crossing{among: k, to: l.sibling, name: v.name, key: l.key, visit: visit, validation: v.validation}
	header, err := siblingHeader(v.conn.RemoteAddr(), v.conn.LocalAddr(), v.name, k.router.domain, framing.KindTLS)
	if err == nil {
		err = k.ask(p, append(header, hello...))
	}
	if err == nil {
		return p, l
	}
	visit.End()
	if errors.Is(err, errSiblingRefuses) {
		return nil, lead{to: nowhere, alert: sni.AlertAccessDenied, why: refusedBySibling}
	}
	return nil, l
}

// ask dials the sibling of p and has it take what first says.
func (k *crossings) ask(p *crossing, first []byte) error {
	if !k.begin(p) {
		k.forget(p)
		return errCrossingCut
	}
	conn, err := k.askSibling(p, first)
	if err != nil {
		k.forget(p)
		return err
	}
	if !k.taken(p, conn) {
		socket.Abort(conn)
		p.end()
		return errCrossingCut
	}
	return nil
}

// askSibling is ask for a crossing that is noted, and keeps account of how the sibling
// answers.
func (k *crossings) askSibling(p *crossing, first []byte) (conn *net.TCPConn, err error) {
	to := p.to
	p.made = k.router.kindOf(p.name) == madeName
	to.ask(p.name, p.made)
	how, err := siblingHasNot, errHasNot
	if to.out.enter(p.key, p.made) {
		conn, how, err = k.askOver(p, first)
		if err != nil {
			to.out.leave(p.key, p.made)
		}
	}
	to.answered(p.name, how)
	switch {
	case how == siblingFails, how == siblingBreaks:
		if tell, n := to.away.Failed(1); tell {
			k.log.Warn("a sibling does not answer", "sibling", to.Name, "to", to.Dial, "err", err, "visitors", n, hint.Attr(hint.SiblingAway.Do))
		}
	case how != siblingCalled && how != siblingHasNot:
		if lasted, n, told := to.away.Ends(); told {
			k.log.Info("a sibling answers again", "sibling", to.Name, "lasted", lasted.Round(time.Second), "visitors", n)
		}
	}
	return conn, err
}

// askOver is ask over a connection, which it returns where the sibling has said yes. The
// dialling ends when the remote comes here.
func (k *crossings) askOver(p *crossing, first []byte) (*net.TCPConn, siblingAnswer, error) {
	r := k.router
	ctx, cancel := context.WithTimeout(r.ctx, siblingDialTimeout)
	defer cancel()
	here := r.presence.arrival(p.name)
	defer r.waiters.unwatched(p.name, r.presence)
	if r.presence.isHere(p.name, p.validation) {
		return nil, siblingCalled, errNoMore
	}
	came := make(chan bool, 1)
	go func() {
		select {
		case <-here:
			cancel()
			came <- true
		case <-ctx.Done():
			came <- false
		}
	}()
	c, err := k.dials.dial(ctx, r.ctx, p.to.Dial)
	cancel()
	switch arrived := <-came; {
	case err != nil && arrived:
		return nil, siblingCalled, errNoMore
	case err != nil:
		return nil, siblingFails, err
	}
	socket.UserTimeout(c, visitorTimeout)
	c.SetDeadline(time.Now().Add(siblingAnswerTimeout))
	answer := []byte{0}
	if _, err = c.Write(first); err == nil {
		_, err = c.Read(answer)
	}
	alert := sni.Alert(answer[0])
	if err == nil && alert == siblingTaken {
		c.SetDeadline(time.Time{})
		return c, siblingTook, nil
	}
	socket.Abort(c) // without an answer it may have the hello
	k.dials.forget(c)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, siblingFails, fmt.Errorf("wait for its answer: %w", err)
	case err != nil: // it is there, and may have had no room for this one
		return nil, siblingBreaks, fmt.Errorf("wait for its answer: %w", err)
	case alert == sni.AlertAccessDenied:
		return nil, siblingRefuses, errSiblingRefuses
	}
	return nil, siblingHasNot, errHasNot
}

// siblingHeader is what a sibling is told of a visitor.
func siblingHeader(source, dest net.Addr, name, domain string, kind framing.Kind) ([]byte, error) {
	// Of two families, as a proxy may have said, IPv4 is written as IPv6 and read back.
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(addrPort(source)), net.TCPAddrFromAddrPort(addrPort(dest)))
	err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)},
		{Type: typeMark, Value: append([]byte{markVersion, byte(kind)}, domain...)}})
	if err != nil {
		return nil, fmt.Errorf("encode PROXY header: %w", err)
	}
	return h.Format()
}

// passChallenge asks the sibling that l leads to, to take a CA's HTTP-01 request, and
// returns the connection to it.
func (k *crossings) passChallenge(name string, l lead, local net.Addr) (net.Conn, error) {
	visit, _ := k.owners.Begin(name, l.key, true) // which is never refused
	p := &crossing{among: k, to: l.sibling, name: name, key: l.key, visit: visit, validation: true}
	header, err := siblingHeader(local, local, name, k.router.domain, framing.KindHTTP01)
	if err == nil {
		err = k.ask(p, header)
	}
	if err != nil {
		visit.End()
		return nil, err
	}
	p.conn.SetDeadline(time.Now().Add(challengeTimeout))
	return &passedChallenge{p.conn, p}, nil
}

// A passedChallenge is the connection to a sibling that has taken a CA's request.
type passedChallenge struct {
	*net.TCPConn
	crossing *crossing
}

// Close ends the crossing.
func (c *passedChallenge) Close() error {
	c.crossing.end()
	return nil
}

var _ duplex.Conn = (*passedChallenge)(nil)
