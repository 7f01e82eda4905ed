package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/hint"
)

const (
	// lookupTimeout bounds the question for a name's addresses.
	lookupTimeout = 5 * time.Second

	// performTimeout bounds one address, from dialling to its answer.
	performTimeout = 10 * time.Second

	// maxAddresses is how many addresses of a name are tried. With more the
	// rehearsal is left out.
	maxAddresses = 32
)

// A Rehearsal looks for the answer to a validation as the CA will, before the CA is
// asked to: each address that DNS gives for the name must answer with the right key
// authorization (RFC 8737 section 3, RFC 8555 section 8.3). A CA looks from several
// places, and a single relay in DNS without a link of this device spoils the order. The
// zero value is ready for use.
//
// It takes place twice: before there is an order, with a key authorization made up for
// it, and before the CA is asked to look, with the order's own one. Where an address
// answers wrongly, or does not answer while another one does, the attempt ends with a
// *RehearsalError, and is repeated as after a CA that cannot be reached. Where no
// address can be reached from here, the order goes on, and the log says so once for
// each name. It goes on as well where less than a tenth of the validity of the
// certificate to be replaced is left: what this device sees may be wrong, such as a
// router that answers by itself, and must not end a name that a CA would find.
type Rehearsal struct {
	// Lookup returns the addresses that DNS gives for a name; nil means
	// [net.DefaultResolver].
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	// Dial connects to an address; nil means without a proxy.
	Dial func(ctx context.Context, address netip.AddrPort) (net.Conn, error)

	// Port returns where validations of a name by tls-alpn-01 arrive, 1 to 65535; nil
	// means 443. Those by http-01 arrive at port 80.
	Port func(name string) int

	mu   sync.Mutex
	told map[string]bool // the names that the log has said are not rehearsed
}

// A RehearsalError is the error of an order that was not made, since a CA would not
// have found this device at each address of the name.
type RehearsalError struct {
	Name   string
	Failed []FailedAddress // one at least
}

// A FailedAddress is an address of a name that did not answer as it has to.
type FailedAddress struct {
	Address netip.AddrPort
	Why     string // for people, as in "refuses connections"
}

// Error implements error.
func (e *RehearsalError) Error() string {
	list := make([]string, len(e.Failed))
	for i, f := range e.Failed {
		list[i] = f.Address.String() + " " + f.Why
	}
	return "nothing is ordered for " + e.Name + ": of the addresses that DNS gives, " + strings.Join(list, ", and ")
}

// Hints says what to do, in one line each.
func (e *RehearsalError) Hints() []string { return hint.NameNotEverywhere.With("NAME", e.Name) }

// solver is the acmez.Solver of one order: the CA looks for what it presents once
// the rehearsal has found it.
type solver struct {
	*challenges
	issuer *issuer
}

var _ acmez.Waiter = solver{}

// Wait implements [acmez.Waiter]: it is called after Present, before the CA is asked
// to look.
func (s solver) Wait(ctx context.Context, chal acme.Challenge) error {
	if at := attemptOf(ctx); at != nil && at.unrehearsed {
		return nil
	}
	return s.issuer.rehearse(ctx, chal)
}

// rehearseAlone is the rehearsal before there is an order, with a key authorization
// that no CA knows.
func (i *issuer) rehearseAlone(ctx context.Context, name, kind string) error {
	if i.cfg.Rehearsal == nil {
		return nil
	}
	token := rand.Text()
	chal := acme.Challenge{Type: kind, Token: token, KeyAuthorization: token + ".rehearsal",
		Identifier: acme.Identifier{Type: "dns", Value: name}}
	if err := i.answers.Present(ctx, chal); err != nil {
		return err
	}
	defer func() { _ = i.answers.CleanUp(ctx, chal) }()
	return i.rehearse(ctx, chal)
}

// rehearse looks for the answer to chal at each address of its name. The error is a
// *RehearsalError, or that of ctx.
func (i *issuer) rehearse(ctx context.Context, chal acme.Challenge) error {
	r := i.cfg.Rehearsal
	if r == nil {
		return nil
	}
	name, unrehearsed := chal.Identifier.Value, ""
	addresses, err := r.addresses(ctx, chal)
	var found *outcome
	if err != nil {
		unrehearsed = err.Error()
	} else {
		found = r.perform(ctx, chal, addresses)
		unrehearsed = found.unrehearsed()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed := found.failed(); len(failed) > 0 {
		err := &RehearsalError{Name: name, Failed: failed}
		at := attemptOf(ctx)
		if at == nil || !at.pressing {
			return err
		}
		at.unrehearsed = true
		i.plain.Warn("the CA is asked all the same, since the certificate runs out", "name", name, "error", err, hint.Attr(err.Hints()))
		return nil
	}
	if at := attemptOf(ctx); unrehearsed != "" && at != nil {
		if at.spoiled != nil {
			return at.spoiled // what was found at the other port counts
		}
		at.unrehearsed = true
	}
	if r.tells(name, unrehearsed) {
		i.plain.Info("the order goes on without a whole rehearsal", "name", name, "why", unrehearsed)
	}
	return nil
}

// tells reports whether the log has to say that a name is not rehearsed. Why is the
// reason, or empty where the name was rehearsed. The log says it once, until the name
// is rehearsed again.
func (r *Rehearsal) tells(name, why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == "" {
		delete(r.told, name)
		return false
	}
	if r.told == nil {
		r.told = make(map[string]bool)
	}
	before := r.told[name]
	r.told[name] = true
	return !before
}

// addresses returns those at which a CA looks for the answer to chal. Its error is why
// the rehearsal is left out.
func (r *Rehearsal) addresses(ctx context.Context, chal acme.Challenge) (list []netip.AddrPort, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	lookup := r.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			// The dot keeps the system's search domains out of it.
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name+".")
		}
	}
	ips, err := lookup(ctx, chal.Identifier.Value)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return nil, errors.New("DNS gives no address: " + oneLine(dns.Err))
	case err != nil:
		return nil, errors.New("DNS gives no address: " + oneLine(err.Error()))
	}
	seen := make(map[netip.Addr]bool)
	for _, ip := range ips {
		if ip = ip.Unmap(); !seen[ip] {
			seen[ip] = true
			list = append(list, netip.AddrPortFrom(ip, r.port(chal.Identifier.Value, chal.Type)))
		}
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("DNS gives no address")
	case len(list) > maxAddresses:
		return nil, fmt.Errorf("DNS gives %d addresses, and %d at most are tried", len(list), maxAddresses)
	}
	return list, nil
}

// port is where a CA looks.
func (r *Rehearsal) port(name, kind string) uint16 {
	switch {
	case kind == acme.ChallengeTypeHTTP01:
		return 80
	case r.Port == nil:
		return 443
	}
	return uint16(r.Port(name))
}

// perform asks all addresses at once.
func (r *Rehearsal) perform(ctx context.Context, chal acme.Challenge, addresses []netip.AddrPort) *outcome {
	o := &outcome{addresses: addresses, errs: make([]error, len(addresses))}
	var wg sync.WaitGroup
	for n, address := range addresses {
		wg.Go(func() { o.errs[n] = r.performAt(ctx, chal, address) })
	}
	wg.Wait()
	return o
}

// performAt asks one address, as a CA does.
func (r *Rehearsal) performAt(ctx context.Context, chal acme.Challenge, address netip.AddrPort) error {
	return r.at(ctx, address, func(ctx context.Context, conn net.Conn) error {
		if chal.Type == acme.ChallengeTypeHTTP01 {
			return askHTTP(ctx, conn, chal)
		}
		return askTLS(ctx, conn, chal)
	})
}

// at asks something over a connection to one address, which it closes.
func (r *Rehearsal) at(ctx context.Context, address netip.AddrPort, ask func(context.Context, net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, performTimeout)
	defer cancel()
	dial := r.Dial
	if dial == nil {
		dial = func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address.String())
		}
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return &awayError{err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err = ask(ctx, conn)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // which has closed the connection
	}
	return err
}
