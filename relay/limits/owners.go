package limits

import (
	"crypto/ed25519"
	"encoding/hex"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// validationBytes is how much a CA's validation of a name may carry, both ways
// together: it is let in whatever the limits say, and is a handshake alone.
const validationBytes = 64 << 10

// minAccounts is how many accounts there are before idle ones are looked for.
const minAccounts = 1024

// Owners bound what the visitors of one identity and of one name may take, see
// [Owner]. The zero value has the defaults. Its methods may be called from any
// goroutine. Its fields are set before the first call.
type Owners struct {
	// Override returns what a name may have by the token that it was granted
	// with; nil is for none. What is not 0 there counts in the place of the
	// name's limit, and that traffic does not count for the identity. It must
	// not block.
	Override func(name string, key ed25519.PublicKey) Owner

	// Usage keeps the bytes of a month.
	Usage Usage

	// Counts are how often each limit was met.
	Counts Counts

	mu     sync.Mutex
	began  time.Time
	config Config              // with its defaults
	names  map[string]*account // by name
	keys   map[string]*account // by identity
	tidyAt int                 // with how many accounts idle ones are looked for
}

// An account is what one name has, or one identity.
type account struct {
	name string // empty for an identity
	key  ed25519.PublicKey
	of   Reason // NameStreams or IdentityStreams: the others follow

	// Guarded by Owners.mu.
	limit   Owner
	rate    pass // of new visitors
	streams int
	visits  int // that may still use it, whether they count among the streams or not
	came    bucket

	in   pace // to the remote
	out  pace // from it
	used atomic.Pointer[tab]
	most atomic.Int64 // bytes in a month, with used
}

// Set makes c count from now on, for what is there already too. It is to be called
// also when what Override says has changed.
func (o *Owners) Set(c Config) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setLocked(c)
}

func (o *Owners) setLocked(c Config) {
	if o.names == nil {
		o.began, o.names, o.keys = time.Now(), make(map[string]*account), make(map[string]*account)
	}
	o.config = c.WithDefaults()
	for _, a := range o.names {
		o.limitLocked(a, o.overrideOf(a.name, a.key))
	}
	for _, a := range o.keys {
		o.limitLocked(a, Owner{})
	}
}

// readyLocked makes the zero value ready.
func (o *Owners) readyLocked() {
	if o.names == nil {
		o.setLocked(Config{})
	}
}

func (o *Owners) overrideOf(name string, key ed25519.PublicKey) Owner {
	if o.Override == nil {
		return Owner{}
	}
	return o.Override(name, key)
}

// limitLocked sets what an account may have.
func (o *Owners) limitLocked(a *account, override Owner) {
	limit := o.config.Identity
	if a.name != "" {
		limit = override.or(o.config.Name)
	}
	if a.limit == limit {
		return
	}
	a.limit = limit
	a.rate = passOf(Rate{Count: limit.ConnsPerSecond, Per: time.Second}, 1, 0)
	now := o.now()
	a.in.set(limit.Bandwidth, now)
	a.out.set(limit.Bandwidth, now)
	if limit.BytesPerMonth < 0 { // most stays: a stream may be about to compare with it
		a.used.Store(nil)
		return
	}
	a.most.Store(limit.BytesPerMonth)
	if a.used.Load() == nil {
		a.used.Store(o.Usage.of(a.id()))
	}
}

// id stands for the account in the record of what was used.
func (a *account) id() string {
	if a.name != "" {
		return "name " + a.name
	}
	return "key " + hex.EncodeToString(a.key)
}

func (o *Owners) now() int64 { return int64(time.Since(o.began)) }

// accountsLocked returns the accounts of a name and of the identity that serves it.
func (o *Owners) accountsLocked(name string, key ed25519.PublicKey, override Owner) (list [2]*account) {
	n, k := o.names[name], o.keys[string(key)]
	if n == nil || k == nil {
		o.tidyLocked()
	}
	if n == nil {
		n = &account{name: name, of: NameStreams}
		o.names[name] = n
	}
	if k == nil {
		k = &account{key: key, of: IdentityStreams}
		o.keys[string(key)] = k
	}
	n.key = key
	o.limitLocked(n, override)
	o.limitLocked(k, Owner{})
	return [2]*account{n, k}
}

// tidyLocked forgets the accounts that hold nothing. It looks at all of them each
// time that there are twice as many as were left.
func (o *Owners) tidyLocked() {
	if len(o.names)+len(o.keys) < max(o.tidyAt, minAccounts) {
		return
	}
	now := o.now()
	idle := func(_ string, a *account) bool {
		return a.visits == 0 && int64(a.came) <= now && a.in.idle(now) && a.out.idle(now)
	}
	maps.DeleteFunc(o.names, idle)
	maps.DeleteFunc(o.keys, idle)
	o.tidyAt = 2 * (len(o.names) + len(o.keys))
}

// A Visit is one visitor's stream.
type Visit struct {
	owners *Owners
	counts [2]bool     // for which accounts it counts among the streams
	at     [2]*account // of the name and of the identity
	paced  [2]bool     // by which accounts its bytes are
	month  [2]bool     // for which of them they count
	left   atomic.Int64
	waited [2]atomic.Bool // it had to wait for that account, and that was counted
	once   sync.Once

	validation bool
	in, out    Pacer
}

// Begin counts a visitor of a name that an identity serves. With a reason it does
// not count, and is to be refused. A CA's validation is never refused, and may carry
// little.
func (o *Owners) Begin(name string, key ed25519.PublicKey, validation bool) (*Visit, Reason) {
	v, why := o.begin(name, key, validation)
	if why != None {
		o.Counts.Add(why)
	}
	return v, why
}

func (o *Owners) begin(name string, key ed25519.PublicKey, validation bool) (*Visit, Reason) {
	override := o.overrideOf(name, key) // without the lock
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readyLocked()
	v := &Visit{owners: o, validation: validation, at: o.accountsLocked(name, key, override)}
	v.in, v.out = Pacer{v, true}, Pacer{v, false}
	v.left.Store(validationBytes)
	v.counts = [2]bool{true, override.Streams == 0}
	v.paced = [2]bool{true, override.Bandwidth == 0}
	v.month = [2]bool{true, override.BytesPerMonth == 0}
	rates := [2]bool{true, override.ConnsPerSecond == 0}
	now := o.now()
	if !validation {
		for i, a := range v.at {
			switch {
			case v.counts[i] && over(a.streams, a.limit.Streams):
				return nil, a.of
			case rates[i] && a.came.after(now, a.rate) > 0:
				return nil, a.of + 1
			case v.month[i] && a.spent():
				return nil, a.of + 2
			}
		}
		for i, a := range v.at {
			if rates[i] {
				a.came.take(now, a.rate)
			}
		}
	}
	for i, a := range v.at {
		a.visits++
		if v.counts[i] {
			a.streams++
		}
	}
	return v, None
}

// spent reports whether the bytes of this month are used up.
func (a *account) spent() bool {
	used := a.used.Load()
	return used != nil && used.bytes.Load() >= a.most.Load()
}

// Spent reports whether the bytes of this month of a name, or of the identity that
// serves it, are used up, and when the next month begins: until then its visitors
// are refused.
func (o *Owners) Spent(name string, key ed25519.PublicKey) (until time.Time, spent bool) {
	override := o.overrideOf(name, key)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readyLocked()
	if at := o.accountsLocked(name, key, override); at[0].spent() || override.BytesPerMonth == 0 && at[1].spent() {
		return nextMonth(time.Now()), true
	}
	return time.Time{}, false
}

// End ends that the stream counts. It may be called several times, and of a nil
// Visit.
func (v *Visit) End() {
	if v == nil {
		return
	}
	v.once.Do(func() {
		v.owners.mu.Lock()
		defer v.owners.mu.Unlock()
		for i, a := range v.at {
			a.visits--
			if v.counts[i] {
				a.streams--
			}
		}
	})
}

// In is the pace of the bytes to the remote, as a copying asks for it.
func (v *Visit) In() *Pacer { return &v.in }

// Out is the pace of the bytes from the remote.
func (v *Visit) Out() *Pacer { return &v.out }

// A Pacer says when the bytes of one direction of a stream may go.
type Pacer struct {
	visit *Visit
	in    bool
}

func (p *Pacer) of(a *account) *pace {
	if p.in {
		return &a.in
	}
	return &a.out
}

// Reserve takes up to n bytes of what may go, and returns how many and after what
// wait. None is that no more may go.
func (p *Pacer) Reserve(n int) (granted int, wait time.Duration) {
	v := p.visit
	if v.validation {
		if n = int(min(int64(n), v.left.Load())); n <= 0 {
			return 0, 0
		}
	}
	for i, a := range v.at {
		if v.month[i] && !v.validation && a.spent() {
			v.owners.Counts.Add(a.of + 2)
			return 0, 0
		}
		if v.paced[i] {
			n = p.of(a).turn(n, v.owners.began)
		}
	}
	for i, a := range v.at {
		if v.paced[i] {
			if w := p.of(a).reserve(n, v.owners.began); w > 0 {
				wait = max(wait, w)
				if v.waited[i].CompareAndSwap(false, true) {
					v.owners.Counts.Add(a.of + 3)
				}
			}
		}
	}
	p.count(n)
	return n, wait
}

// Return gives n bytes of a reservation back that did not go.
func (p *Pacer) Return(n int) {
	if n == 0 {
		return
	}
	for i, a := range p.visit.at {
		if p.visit.paced[i] {
			p.of(a).put(n)
		}
	}
	p.count(-n)
}

// count counts n bytes for the month, and for a validation.
func (p *Pacer) count(n int) {
	v := p.visit
	if v.validation {
		v.left.Add(-int64(n))
	}
	for i, a := range v.at {
		if used := a.used.Load(); v.month[i] && used != nil {
			used.bytes.Add(int64(n))
		}
	}
}
