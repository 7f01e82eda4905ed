package limits

import (
	"crypto/ed25519"
	"encoding/hex"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

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
	of   Reason // NameStreams or IdentityStreams; its rate, bytes and bandwidth are the next three

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

// spent reports whether the bytes of this month are used up.
func (a *account) spent() bool {
	used := a.used.Load()
	return used != nil && used.bytes.Load() >= a.most.Load()
}

// Inherit makes what an identity has used of this month count for its heir, too.
func (o *Owners) Inherit(from, to ed25519.PublicKey) {
	o.Usage.inherit((&account{key: from}).id(), (&account{key: to}).id())
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
