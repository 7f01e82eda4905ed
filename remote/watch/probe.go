package watch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
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
	dialTimeout, handshakeTimeout = 20 * time.Second, 30 * time.Second
	answerTimeout, endTimeout     = 15 * time.Second, 30 * time.Second
	// replicaTries is how many connections are made, where other replicas may take them,
	// until one ends here.
	replicaTries = 4
	// maxKey is the longest RSA key, in bits, that is calculated with: the TLS library takes
	// none that is longer, and what it costs grows with the square. maxBetween is how many of
	// the certificates behind a leaf are tried, which is as many as package x509 checks.
	maxKey, maxBetween = 8192, 100
)

// errPassedOver is the error of a leaf that leads to no root, where not all that stands
// behind it was tried.
var errPassedOver = errors.New("not all of the certificates behind it are tried")

// A probing is one probe that is to be run.
type probing struct {
	name    *Name
	way     *Way
	address string         // host:port
	ip      netip.AddrPort // of address; invalid where it is a name
	beside  bool           // it is at a port of Name.Beside, or at 443
	roots   *x509.CertPool // of the watch
	shape   browser.Shape
}

// runBeside runs a probe beside the name's own port. What it returns is an interception, or
// what may be one, or nothing. That the short time of the first round was not enough says
// nothing yet.
func (p *probing) runBeside(ctx context.Context, first bool) []Result {
	most := lookBeside
	if first {
		most = glance
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if _, certified := p.name.Key(); !certified {
		return nil // as the probe at its own port says
	}
	if r := p.run(ctx); r.isTold() && !(first && r.Step == AtHandshake && ctx.Err() != nil) {
		return []Result{r}
	}
	return nil
}

// run runs the probe, and tries again where another replica may have taken it. It does not
// where the handshake fails: who fails the one browser is not cleared by what another sees.
func (p *probing) run(ctx context.Context) Result {
	p.shape = pick(browser.Shapes())
	for n := 1; ; n++ {
		r := p.once(ctx)
		if ctx.Err() != nil || r.Step != AtEnds || !p.name.Replica || n >= replicaTries {
			return r
		}
	}
}

// once makes one connection.
func (p *probing) once(ctx context.Context) Result {
	before, certified := p.name.Key()
	if !certified {
		return p.notRun(AtHandshake, "was not looked at, since there is no certificate")
	}
	ends := p.name.Ends()
	defer ends.Close()
	var own *Result
	seen := p.connect(ctx, func(c *browser.Conn, s sight) {
		r := p.judge(ctx, s, ends, before, func(key [sha256.Size]byte) bool { return p.vouched(ctx, c, key) }, func() { p.ask(ctx, c) })
		own = &r
	})
	if own != nil {
		return *own
	}
	return seen
}

// A sight is what a connection has shown.
type sight struct {
	chain    [][]byte          // in DER, the leaf first; not empty
	leaf     *x509.Certificate // nil where it cannot be read
	failed   *Result           // why the handshake failed behind it; nil where it did not
	exporter probe.Exporter
	random   probe.Random
	bare     bool // there is no exporter
	part     bool // more was shown behind the leaf than is there
}

// show takes the certificates that a connection has shown.
func (s *sight) show(chain [][]byte) {
	s.chain, s.leaf = chain, nil
	if len(chain) > 0 {
		s.leaf, _ = x509.ParseCertificate(chain[0])
	}
}

// connect makes a connection, and gives use what it has shown before it closes it. Where
// no certificate was shown, it returns why, and use is not called.
func (p *probing) connect(ctx context.Context, use func(*browser.Conn, sight)) Result {
	conn, err := p.dial(ctx)
	if err != nil {
		return p.notDialled(err)
	}
	defer conn.Close()
	c, err := browser.Client(conn, p.name.Domain, p.shape)
	if err != nil {
		return p.notRun(AtHandshake, plain.Text(err.Error()))
	}
	random, err := c.Random()
	if err != nil {
		return p.notRun(AtHandshake, plain.Text(err.Error()))
	}
	shaken, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	err = c.Handshake(shaken)
	s := sight{random: random}
	s.show(c.Chain())
	if err != nil {
		r := p.notShaken(err, errors.Is(shaken.Err(), context.DeadlineExceeded))
		s.failed = &r
	} else if x, err := c.Exporter(probe.Label, probe.Size); err != nil {
		s.bare = true
	} else {
		copy(s.exporter[:], x)
	}
	switch {
	case len(s.chain) == 0 && p.beside && c.IsElsewhere():
		return p.notRun(AtOther, "is another server")
	case len(s.chain) == 0:
		return *s.failed
	}
	use(c, s)
	return Result{}
}

// judge says what a sight means. Before is the key of before the connection; vouched says
// whether a replica has another key, and ask keeps the connection busy meanwhile.
func (p *probing) judge(ctx context.Context, s sight, ends Ends, before [sha256.Size]byte, vouched func([sha256.Size]byte) bool, ask func()) Result {
	if s.leaf == nil {
		return p.unread(s)
	}
	key := statement.KeyOf(s.leaf)
	now, _ := p.name.Key()
	foreign := key != before && key != now
	deceives, perhaps := true, true
	if p.beside {
		deceives, perhaps = p.deceives(s)
	}
	switch {
	case !(foreign && perhaps) && p.beside:
		return p.notRun(AtOther, "is another server, or this device")
	case foreign && s.failed == nil && p.name.Replica && vouched(key):
		return p.result(Own, key, nil, "")
	case !deceives:
		return p.notRun(AtCertificate, "shows another key in a certificate for the name that this device cannot judge; a browser may take it: "+described(s.leaf))
	case foreign:
		return p.result(Intercepted, key, s.chain, "shows a key that is not this device's, in a certificate "+described(s.leaf))
	case s.failed != nil:
		return *s.failed
	case s.bare: // the device's own end speaks no such TLS
		return p.result(Intercepted, key, s.chain, "shows this device's key over TLS that does not end here: somebody else has a copy of the key")
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		ask()
	}()
	defer func() { <-asked }()
	waiting, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	switch end := ends.Await(waiting, s.exporter, s.random); {
	case end == probe.Here:
		return p.result(Own, key, nil, "")
	case ctx.Err() != nil:
		return p.notRun(AtEnds, "was not waited for")
	case p.name.Replica:
		return p.notRun(AtEnds, "shows this device's key; whether the connection ended here or at another replica is not known")
	case end == probe.Unsure:
		return p.notRun(AtEnds, "shows this device's key; whether the connection ended here is not known: it has come here and failed")
	}
	return p.result(Intercepted, key, s.chain, "shows this device's key, and the connection does not end here: somebody else has a copy of the key")
}

// unread is what came of a sight whose leaf cannot be read, or is not known. Beside the
// name's port it counts where it may be one for the name: such a one has that, or the
// wildcard above it, as a text in it.
func (p *probing) unread(s sight) Result {
	der := bytes.ToLower(s.chain[0])
	_, above, _ := strings.Cut(p.name.Domain, ".")
	switch {
	case !p.beside && s.failed != nil:
		return *s.failed
	case p.beside && len(der) > 0 && !bytes.Contains(der, []byte(p.name.Domain)) && !bytes.Contains(der, []byte("*."+above)):
		return p.notRun(AtOther, "is another server")
	}
	return p.notRun(AtCertificate, "shows a certificate that this device cannot read; a browser may take it")
}

// deceives reports whether browsers take a chain for the name's, and whether they perhaps
// do. Nothing behind the leaf can say that they do not: whoever shows it chooses that, and
// browsers find their own way to a root. They know intermediates, pass over fakes of them,
// and fetch others from where the leaf says that they are. This device fetches nothing: the
// address is chosen by others, too.
func (p *probing) deceives(s sight) (certainly, perhaps bool) {
	now := time.Now()
	if s.leaf.VerifyHostname(p.name.Domain) != nil || now.Before(s.leaf.NotBefore) || now.After(s.leaf.NotAfter) {
		return false, false
	}
	_, err := s.path(p.roots)
	return err == nil, err == nil || !isLost(err) || len(s.leaf.IssuingCertificateURL) > 0
}

// isLost reports whether the error of a path is that it leads to none of the roots.
func isLost(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }

// path returns the certificates that lead from the leaf to one of the roots, without that.
// Nothing ends the calculation but its own end, so what it can cost is bounded.
func (s *sight) path(roots *x509.CertPool) (path [][]byte, err error) {
	between, tried, passed := x509.NewCertPool(), 0, s.part
	for _, der := range s.chain[1:] {
		if tried == maxBetween {
			passed = true
			break
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue // browsers pass over it, too
		}
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxKey {
			passed = true
			continue
		}
		between.AddCert(cert)
		tried++
	}
	chains, err := s.leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	if passed && isLost(err) {
		return nil, errPassedOver
	}
	if err != nil {
		return nil, err
	}
	for _, cert := range chains[0][:max(1, len(chains[0])-1)] {
		path = append(path, cert.Raw)
	}
	return path, nil
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

// result returns what came of the probe. Of a chain it keeps as much as evidence does.
func (p *probing) result(s State, key [sha256.Size]byte, chain [][]byte, why string) Result {
	return Result{Name: p.name.Domain, Address: p.ip, Way: p.way.Name, State: s, Why: why, Key: key, chain: kept(chain), Time: time.Now()}
}

// kept returns what is kept of a chain, apart from the message in which it came.
func kept(chain [][]byte) (part [][]byte) {
	size := 0
	for _, der := range chain {
		if size += len(der); size > maxEvidenceSize {
			break
		}
		part = append(part, bytes.Clone(der))
	}
	return part
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
