package watch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/plain"
	"keystay/internal/probe"
	"keystay/remote/watch/browser"
)

// A cross-probe is a look from another remote's network. The remote that asks makes an
// ordinary visitor's connection to a name of the other one, so no relay has to know of
// it. Question and answer are signed by the two identities: whoever ends TLS on the way to
// the other remote can keep the answer back, and change nothing of it.

// askTimeout is how long the other remote may take for its answer.
const askTimeout = 2 * time.Minute

// A Peer is another remote of the same owner.
type Peer struct {
	Name  string // a public name of it, which serves HTTP
	Port  int    // of that
	Label string // of its identity (see package keyname); empty is this device's own
}

// trusts reports whether a key is that of the peer's identity. Own is this device's.
func (p *Peer) trusts(key, own ed25519.PublicKey) bool {
	if p.Label == "" {
		return own.Equal(key)
	}
	return keyname.Label(key, "") == p.Label
}

// askPeer has a peer look at a name, and says what came of that.
func (w *Watch) askPeer(ctx context.Context, n *Name, peer *Peer) []Result {
	way := &Way{Name: peer.Name}
	p := &probing{name: n, way: way}
	before, certified := n.Key()
	if !certified {
		return []Result{p.notRun(AtPeer, "was not looked at, since there is no certificate")}
	}
	ends := n.Ends()
	defer ends.Close()
	port := n.Port()
	answer, err := w.question(ctx, n, port, peer)
	if err != nil {
		return []Result{p.notRun(AtPeer, "was not looked at: "+plain.Text(err.Error()), hint.NoPeer.With("NAME", peer.Name)...)}
	}
	var all []Result
	looked := false
	for _, s := range answer.Sights[:min(len(answer.Sights), 2*maxAddresses)] {
		of := &probing{name: n, way: way, roots: w.Roots}
		of.ip, _ = netip.ParseAddrPort(s.Address)
		of.beside = of.ip.IsValid() && int(of.ip.Port()) != port
		looked = looked || !of.beside
		if r := of.heard(ctx, s, ends, before); !of.beside || r.isTold() {
			all = append(all, r)
		}
	}
	if !looked {
		all = append(all, p.notRun(AtPeer, "was not looked at: it says nothing"))
	}
	return all
}

// heard says what a sight of a peer means.
func (p *probing) heard(ctx context.Context, told probe.Sight, ends Ends, before [sha256.Size]byte) Result {
	var s sight
	s.show(told.Chain)
	if told.Step != "" {
		step := AtPeer
		if p.beside && told.Step == string(AtHandshake) {
			step = AtHandshake // which is told of a port beside
		}
		r := p.notRun(step, "was not seen from there: "+plain.Cut(plain.Text(told.Why), 300))
		s.failed = &r
	}
	switch {
	case len(s.chain) == 0 && s.failed != nil:
		return *s.failed
	case len(s.chain) == 0:
		return p.notRun(AtPeer, "was not seen from there: it tells of no certificate")
	}
	s.part = told.Step == string(AtCertificate)
	s.bare = copy(s.exporter[:], told.Exporter) != probe.Size
	copy(s.random[:], told.Random)
	return p.judge(ctx, s, ends, before, func([sha256.Size]byte) bool { return false }, func() {})
}

// question puts the question to a peer.
func (w *Watch) question(ctx context.Context, n *Name, port int, peer *Peer) (a probe.Answer, err error) {
	nonce := make([]byte, probe.NonceSize)
	_, _ = rand.Read(nonce) // it never fails
	doc, hash := w.Sign(probe.Question{Name: n.Domain, Port: port, Beside: n.beside(port), HTTP: n.HTTP, To: peer.Name, Nonce: nonce, Time: time.Now()})
	reply, err := w.post(ctx, peer, doc)
	if err != nil {
		return a, err
	}
	a, err = probe.OpenAnswer(reply, func(key ed25519.PublicKey) bool { return peer.trusts(key, n.Identity()) })
	switch {
	case err != nil:
		return a, fmt.Errorf("its answer is not to be believed: %w", err)
	case !bytes.Equal(a.Question, hash):
		return a, errors.New("its answer is to another question")
	}
	return a, nil
}

// post visits the peer's name and posts a question there. What stands in its certificate
// does not matter: the answer is signed.
func (w *Watch) post(ctx context.Context, peer *Peer, doc []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := w.visit(ctx, peer)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := browser.Client(conn, peer.Name, browser.Chromium)
	if err != nil {
		return nil, err
	}
	if err := c.Handshake(ctx); err != nil {
		return nil, fmt.Errorf("TLS with it fails: %w", err)
	}
	host := peer.Name
	if peer.Port != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(peer.Port))
	}
	status, reply, err := c.Post(host, probe.Path, doc)
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("it does not answer")
	case err != nil:
		return nil, fmt.Errorf("it gives no answer: %w", err)
	case status != http.StatusOK:
		return nil, fmt.Errorf("it answers with HTTP %d", status)
	}
	return reply, nil
}

// visit connects to a peer's name, the direct way.
func (w *Watch) visit(ctx context.Context, peer *Peer) (net.Conn, error) {
	addresses, err := w.Resolvers[0].Lookup(ctx, peer.Name)
	if err == nil && len(addresses) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return nil, errors.New("it is not found in DNS: " + notFound(err))
	}
	for _, ip := range addresses[:min(len(addresses), maxAddresses)] {
		dialling, cancel := context.WithTimeout(ctx, dialTimeout)
		var conn net.Conn
		conn, err = w.Ways[0].Dial(dialling, netip.AddrPortFrom(ip.Unmap(), uint16(peer.Port)).String())
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("it is not reached: %w", err)
}
