package watch

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/probe"
	"keystay/internal/proxydial"
	"keystay/internal/statement"
	"keystay/remote/watch/browser"
)

const (
	// dialTimeout bounds the way to an address, handshakeTimeout the TLS handshake,
	// answerTimeout the answer to a request, and endTimeout the waiting for the connection at
	// the device's own end.
	dialTimeout, handshakeTimeout = 15 * time.Second, 15 * time.Second
	answerTimeout, endTimeout     = 10 * time.Second, 10 * time.Second
	// replicaTries is how many connections are made, where other replicas may take them,
	// until one ends here.
	replicaTries = 4
)

// A probing is one probe that is to be run.
type probing struct {
	name    *Name
	way     *Way
	address string         // host:port
	ip      netip.AddrPort // of address; invalid where it is a name
}

// run runs the probe, and tries again where another replica may have taken it.
func (p *probing) run(ctx context.Context) Result {
	for n := 1; ; n++ {
		r := p.once(ctx)
		if !p.name.Replica || r.Step != AtEnds || n == replicaTries || ctx.Err() != nil {
			return r
		}
	}
}

// once makes one connection.
func (p *probing) once(ctx context.Context) Result {
	conn, err := p.dial(ctx)
	if err != nil {
		return p.notDialled(err)
	}
	defer conn.Close()
	before, certified := p.name.Key()
	if !certified {
		return p.notRun(AtHandshake, "was not asked, since there is no certificate")
	}
	ends := p.name.Ends()
	defer ends.Close()
	c, err := browser.Client(conn, p.name.Domain, pick(browser.Shapes()))
	if err != nil {
		return p.notRun(AtHandshake, plain.Text(err.Error()))
	}
	shaken, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	failed := c.Handshake(shaken)
	chain := c.Chain()
	if len(chain) == 0 {
		return p.notShaken(failed, shaken.Err() != nil && ctx.Err() == nil)
	}
	key := statement.KeyOf(chain[0])
	if now, _ := p.name.Key(); key != before && key != now {
		if failed == nil && p.name.Replica && p.vouched(ctx, c, key) {
			return p.result(Own, key, nil, "")
		}
		return p.result(Intercepted, key, chain, "shows a key that is not this device's, in a certificate "+described(chain[0]))
	}
	if failed != nil {
		return p.notShaken(failed, shaken.Err() != nil && ctx.Err() == nil)
	}
	return p.compare(ctx, c, ends, key, chain)
}

// compare compares the two ends of a connection on which the device's key was shown.
func (p *probing) compare(ctx context.Context, c *browser.Conn, ends Ends, key [sha256.Size]byte, chain []*x509.Certificate) Result {
	var x probe.Exporter
	b, err := c.Exporter(probe.Label, probe.Size)
	if err != nil { // the device's own end speaks no TLS without it
		return p.result(Intercepted, key, chain, "shows this device's key over TLS that does not end here: somebody else has a copy of the key")
	}
	copy(x[:], b)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		p.ask(ctx, c)
	}()
	defer func() { <-asked }()
	waiting, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	switch end := ends.Await(waiting, x); {
	case end == probe.Here:
		return p.result(Own, key, nil, "")
	case ctx.Err() != nil:
		return p.notRun(AtEnds, "was not waited for")
	case p.name.Replica:
		return p.notRun(AtEnds, "shows this device's key; whether the connection ended here or at another replica is not known")
	case end == probe.Unsure:
		return p.notRun(AtEnds, "shows this device's key; whether the connection ended here is not known, since one has failed here meanwhile")
	}
	return p.result(Intercepted, key, chain, "shows this device's key, and the connection does not end here: somebody else has a copy of the key")
}

// dial connects.
func (p *probing) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.way.Dial(ctx, p.address)
}

// ask asks for a page, so that the connection is not one that says nothing. It is the
// page that the device itself answers: no service and no gate hears of it.
func (p *probing) ask(ctx context.Context, c *browser.Conn) []byte {
	if !p.name.HTTP {
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(answerTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	status, body, err := c.Get(p.host(), statement.Path)
	if err != nil || status != http.StatusOK {
		return nil
	}
	return body
}

// host is the name as a browser asks for it.
func (p *probing) host() string {
	if _, port, err := net.SplitHostPort(p.address); err == nil && port != "443" {
		return net.JoinHostPort(p.name.Domain, port)
	}
	return p.name.Domain
}

// vouched reports whether a key is that of a replica: its statement is signed by this
// device's identity.
func (p *probing) vouched(ctx context.Context, c *browser.Conn, key [sha256.Size]byte) bool {
	s, err := statement.Parse(p.ask(ctx, c))
	return err == nil && s.Verify() == nil && s.Name == p.name.Domain && s.CertificateKey == key &&
		s.Identity.Equal(p.identity()) && s.IsFresh(time.Now())
}

func (p *probing) identity() ed25519.PublicKey {
	if p.name.Identity == nil {
		return nil
	}
	return p.name.Identity()
}

// result returns what came of the probe.
func (p *probing) result(s State, key [sha256.Size]byte, chain []*x509.Certificate, why string) Result {
	return Result{Name: p.name.Domain, Address: p.ip, Way: p.way.Name, State: s, Why: why, Key: key, Chain: chain, Time: time.Now()}
}

func (p *probing) notRun(step Step, why string, hints ...string) Result {
	return Result{Name: p.name.Domain, Address: p.ip, Way: p.way.Name, State: NotRun, Step: step, Why: why, Hints: hints, Time: time.Now()}
}

// notDialled returns why there was no connection.
func (p *probing) notDialled(err error) Result {
	if through, ok := errors.AsType[*proxydial.Error](err); ok {
		return p.notRun(AtProxy, "is not reached: "+plain.Text(through.Error()), hint.All(through)...)
	}
	why := "fails: " + plain.Text(err.Error())
	var op *net.OpError
	switch {
	case errors.Is(err, ErrNear):
		return p.notRun(AtDial, ErrNear.Error())
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "refuses connections"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
		return p.notRun(AtDial, "has no way to it from here")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		why = "does not answer"
	}
	return p.notRun(AtDial, why, hint.NotProbed.Do...)
}

// notShaken returns why TLS was not agreed on.
func (p *probing) notShaken(err error, late bool) Result {
	switch {
	case late:
		return p.notRun(AtHandshake, "does not answer the TLS handshake", hint.NotProbed.Do...)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return p.notRun(AtHandshake, "ends the connection in the TLS handshake")
	}
	return p.notRun(AtHandshake, "fails in the TLS handshake: "+plain.Text(err.Error()))
}

// described says of a certificate who has issued it, and since when it is valid.
func described(cert *x509.Certificate) string {
	return fmt.Sprintf("of %s, valid from %s", plain.Cut(plain.Text(cert.Issuer.String()), 120), cert.NotBefore.UTC().Format(time.DateOnly))
}

// pick returns one of a list by chance.
func pick[T any](list []T) T { return list[rand.IntN(len(list))] }
