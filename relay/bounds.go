package relay

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/hint"
	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/relay/names"
	"keystay/sni"
)

// boundsInterval is how often the log says what limits were met, and the bytes of
// the month are kept.
const boundsInterval = time.Minute

// askAgain is after how long a remote may claim a name again whose bytes of the
// month are used up: the operator may have allowed more.
const askAgain = time.Hour

// bounds are what an address, an identity and a name may take of the server: package
// limits decides, and bounds brings it together with names, links and visitors.
type bounds struct {
	addresses limits.Addresses
	owners    limits.Owners
	config    atomic.Pointer[limits.Config] // as SetLimits was told; nil before
	told      map[limits.Reason]int64       // how often each limit was met that the log has; used by upkeep alone

	mu      sync.RWMutex
	allowed map[string]allowance // by name, of those whose token has limits of its own
}

// An allowance is what a token allows a name.
type allowance struct {
	keys  []string // of the identity that claimed it, and of those before it whose links have it yet
	owner limits.Owner
}

// allow takes up what the token allows that opened a name, which the first of keys claims;
// the others have handed over to it, and serve the name yet.
func (b *bounds) allow(name string, keys []ed25519.PublicKey, n *names.Names) error {
	text, err := n.LimitsOf(name)
	if err != nil {
		return fmt.Errorf("read what its token allows: %w", err)
	}
	owner, err := limits.ParseOwner(text)
	if err != nil {
		return fmt.Errorf("what its token allows: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if owner == (limits.Owner{}) {
		delete(b.allowed, name)
		return nil
	}
	if b.allowed == nil {
		b.allowed = make(map[string]allowance)
	}
	a := b.allowed[name]
	if !slices.Contains(a.keys, string(keys[0])) { // else it may be one before, whose claim was under way
		a.keys = nil
		for _, key := range keys {
			a.keys = append(a.keys, string(key))
		}
	}
	a.owner = owner
	b.allowed[name] = a
	return nil
}

// override is what the token of a name allows, for limits.Owners.Override. The zero
// Owner allows nothing of its own.
func (b *bounds) override(name string, key ed25519.PublicKey) limits.Owner {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if a := b.allowed[name]; slices.Contains(a.keys, string(key)) {
		return a.owner
	}
	return limits.Owner{}
}

// SetLimits makes c count from now on, also for what is here already. Before it is
// called the defaults count. A name whose token has limits of its own has these, as
// they were when the name was claimed last.
func (s *Server) SetLimits(c limits.Config) {
	s.bounds.config.Store(&c)
	s.bounds.addresses.Set(c)
	s.bounds.owners.Set(c)
	for _, one := range s.siblings.now() {
		one.visitors.Set(c)
	}
}

// passedOn makes the limits by address count for the visitors that a sibling passes on.
func (b *bounds) passedOn(s *sibling) {
	s.visitors.CountIn = &b.addresses.Counts
	if c := b.config.Load(); c != nil {
		s.visitors.Set(*c)
	}
}

// KeepUsage keeps in Usage what was used of the month until now. The server does so
// once a minute, and when it is closed. A caller that closes the store of Usage before
// that calls KeepUsage first.
func (s *Server) KeepUsage() error { return s.bounds.owners.Usage.Keep() }

// begin reads what was used of the month, and makes the limits by address count for
// new names and for custom domains.
func (b *bounds) begin(s *Server) {
	b.owners.Override, b.owners.Usage.Store = b.override, s.Usage
	if err := b.owners.Usage.Load(); err != nil {
		s.log.Error("cannot read what was used of the month; it is counted from now on", "err", err, hint.Attr(hint.All(err)))
	}
	if s.Names.Quota == nil {
		s.Names.Quota = func(c names.Claimant) (again time.Duration, ok bool) {
			if c.First {
				if ok, again = b.addresses.Allow(limits.NewIdentity, c.Source); !ok {
					return again, false
				}
			}
			ok, again = b.addresses.AllowAll(limits.NewName, max(1, c.Retires), c.Source)
			return again, ok
		}
	}
	if s.Names.Network == nil {
		s.Names.Network = b.network
	}
	if s.Names.Prove != nil {
		s.Names.Prove = b.bound(s.Names.Prove)
	}
	if s.Names.Ask != nil {
		s.Names.Ask = b.boundAsk(s.Names.Ask)
	}
}

// network returns the network that an address counts for where networks share the
// slots at the CA. An exempt address counts for none.
func (b *bounds) network(a netip.Addr) netip.Prefix {
	if b.addresses.Exempt(a) {
		return netip.Prefix{}
	}
	return limits.Network(a)
}

// errTooManyDomains says why DNS is not asked.
var errTooManyDomains = fmt.Errorf("too many custom domains were asked for from this network: wait a minute (%w)", names.ErrNotAsked)

// bound returns prove with a limit: DNS is asked for no more custom domains than the
// address of a claimant may make the relay ask for, since each costs others packets.
func (b *bounds) bound(prove func(context.Context, names.Claimant) (names.Evidence, error)) func(context.Context, names.Claimant) (names.Evidence, error) {
	return func(ctx context.Context, c names.Claimant) (names.Evidence, error) {
		if ok, _ := b.addresses.Allow(limits.DomainProof, c.Source); !ok {
			return nil, errTooManyDomains
		}
		return prove(ctx, c)
	}
}

// boundAsk is bound for the outside decision, which costs others as much: both count
// as limits.DomainProof.
func (b *bounds) boundAsk(ask func(context.Context, names.Claimant) error) func(context.Context, names.Claimant) error {
	return func(ctx context.Context, c names.Claimant) error {
		if ok, again := b.addresses.Allow(limits.DomainProof, c.Source); !ok {
			return &names.Denied{Name: c.Name, Code: names.DeniedLimit, Text: "too many new names were asked for from this network", Retry: again}
		}
		return ask(ctx, c)
	}
}

// upkeep keeps the month's bytes and tells the log which limits were met, until done
// is closed, and then once more.
func (b *bounds) upkeep(done <-chan struct{}, log *slog.Logger) {
	b.told = make(map[limits.Reason]int64)
	tick := time.NewTicker(boundsInterval)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-done:
			ended = true
		}
		keep := b.owners.Usage.Upkeep
		if ended {
			keep = b.owners.Usage.Keep
		}
		if err := keep(); err != nil && !ended {
			log.Warn("cannot keep what was used of the month", "err", err, hint.Attr(hint.All(err)))
		}
		b.tell(log)
	}
}

// tell logs how often each limit was met since it was called last.
func (b *bounds) tell(log *slog.Logger) {
	var met []any
	for _, r := range limits.Reasons() {
		n := b.met(r)
		if more := n - b.told[r]; more > 0 {
			met = append(met, slog.Int64(r.String(), more))
		}
		b.told[r] = n
	}
	if len(met) > 0 {
		log.Warn("limits were met", append(met, hint.Attr(hint.LimitsMet.Do))...)
	}
}

// met returns how often a limit was met.
func (b *bounds) met(r limits.Reason) int64 {
	return b.addresses.Counts.Of(r) + b.owners.Counts.Of(r)
}

// An arrived connection is one that counts for its address, on its way from the
// listener to where it is served.
type arrived struct {
	sni.Conn
	from   *limits.Connection
	behind bool // a PROXY header, which it begins with, says who it is
}

var _ duplex.Conn = (*arrived)(nil)

// arrive counts a connection that was accepted just now for its address. It closes
// one that is too many, before a byte of it is read, and returns nil.
func (b *bounds) arrive(c net.Conn) net.Conn {
	from, why := b.addresses.Connect(c)
	if why != limits.None {
		socket.Abort(c)
		return nil
	}
	if conn, ok := c.(sni.Conn); ok && from != nil {
		return &arrived{conn, from, false}
	}
	from.Close() // of a connection that nobody serves
	return c
}

// departed takes apart what arrive has returned.
func departed(c net.Conn) (conn net.Conn, from *limits.Connection, behind bool) {
	if a, ok := c.(*arrived); ok {
		return a.Conn, a.from, a.behind
	}
	return c, nil, false
}

// tooMany is what a remote is told whose network has too many links, or asks for
// too many.
func tooMany(r limits.Reason) *framing.Refusal {
	text := "too many links come from this network: ask the relay's operator for more (limits.address.links), or run fewer devices here"
	if r == limits.AddressHandshakes {
		text = "links from this network come too fast: this device comes again by itself; if it goes on so, look at what dials from here all the time, or ask the relay's operator (limits.address.link_rate)"
	}
	return &framing.Refusal{Code: framing.RefusedBusy, Text: text}
}

// usedUp is the denial of a name whose bytes of this month are used up, or those of
// the identity; nil where there are some left.
func (b *bounds) usedUp(name string, key ed25519.PublicKey) *framing.Denial {
	until, spent := b.owners.Spent(name, key)
	if !spent {
		return nil
	}
	return &framing.Denial{Name: name, Code: framing.DeniedLimit, Retry: min(askAgain, time.Until(until).Round(time.Second)),
		Text: fmt.Sprintf("the bytes that it may carry in a month are used up; they begin anew on %s, 00:00 UTC", until.Format("2 January")),
		Hint: "wait until then, or ask the relay's operator for more"}
}
