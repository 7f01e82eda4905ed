package relay

import (
	"crypto/ed25519"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/hostname"
	"keystay/internal/keyname"
	"keystay/internal/outage"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// A Sibling is a relay of another owner. A visitor of a name whose remote is away here is
// passed on to it, and one that it passes on is taken, where the name's device has named
// it in its claim.
type Sibling struct {
	// Name is the sibling's own name, as devices have it in their claims.
	Name string

	// Dial is the host:port of its public port.
	Dial string

	// From are the addresses that it dials from. From there a connection to the public
	// port may begin with a PROXY protocol header that has the mark of a sibling, and
	// is believed; one without a header is a visitor as any.
	From []netip.Prefix
}

const (
	// siblingMissed is for how long a sibling is not asked again for a name that it has
	// said not to have.
	siblingMissed = time.Second
	// siblingDown is for how long a sibling is not asked for anything that cannot be
	// reached; each time it is twice as long, up to siblingDownMost.
	siblingDown     = 5 * time.Second
	siblingDownMost = time.Minute
	// maxWithSibling is how many visitors may be passed on to one sibling at once, and
	// how many it may pass on to here. An identity has a share of these, see places;
	// maxOfMadeNames is how many of them may be of names that are made from keys, of
	// which anybody has as many as he likes.
	maxWithSibling = 1024
	maxOfMadeNames = maxWithSibling / 2
	// maxAskedOfName is how many visitors of a name may wait for a sibling's answer at
	// once, before it has taken one.
	maxAskedOfName = 16
	// maxAskedNames is how many names a sibling is remembered not to have; more than
	// that are not asked for until some are forgotten.
	maxAskedNames = 4096
	// maxWords is of how many names of each kind it is kept which siblings their devices
	// have named.
	maxWords = 1 << 15
	// maxWordBytes is how much memory these words may take together.
	maxWordBytes = 8 << 20
	// wordMemory is what a word takes, its entry and its key among it, without its names
	// and rules; siblingMemory is what each name of a sibling takes beside its bytes.
	wordMemory    = 256
	siblingMemory = 16
)

// siblings are those of a server, and what devices have said of them. The zero value has
// none.
type siblings struct {
	list atomic.Pointer[[]*sibling]

	mu    sync.Mutex
	kinds [nameKinds]words
}

// A nameKind is what a device needs for a name: words of names that cost less take no room of
// those of others.
type nameKind int

const (
	madeName  nameKind = iota // made from a key: nothing
	givenName                 // below the relay's own: a place in the record
	ownDomain                 // proof
	nameKinds
)

// kindOf is the kind of a name.
func (r *router) kindOf(name string) nameKind {
	switch {
	case r.names.IsKeyName(name):
		return madeName
	case hostname.IsBelow(name, r.domain), names.IsPort(name):
		return givenName
	}
	return ownDomain
}

// words are by the name, see maxWords.
type words struct {
	by   map[string]word
	held int // bytes
}

// A word is what the device of a name has said with its newest claim here.
type word struct {
	key      ed25519.PublicKey
	siblings []string // the other relays that serve the name
	rules    framing.Rules
	made     bool // the name is made from the key
}

// A sibling is one that is in use.
type sibling struct {
	Sibling
	out, in  places
	visitors limits.Addresses // of whom it says that they come from an address: apart from what that does here itself
	answers  [siblingAnswers]atomic.Int64
	away     outage.Outage // for the log

	mu    sync.Mutex
	down  time.Time // it is not asked before
	pause time.Duration
	asked map[string]*asking // by name
	made  int                // of asked, those that are made from keys
	swept time.Time          // when asked made room last
}

// An asking is what is known of a name at a sibling.
type asking struct {
	now    int       // visitors that wait for an answer
	missed time.Time // it is not asked for the name before
	taken  bool      // the last answer was a yes
	made   bool      // the name is made from a key
}

// SetSiblings makes list count from now on. Visitors that are here stay where they are.
func (s *Server) SetSiblings(list []Sibling) {
	old := s.siblings.now()
	made := make([]*sibling, len(list))
	for i, one := range list {
		made[i] = &sibling{Sibling: one}
		s.bounds.passedOn(made[i])
		if at := slices.IndexFunc(old, func(o *sibling) bool {
			return o.Name == one.Name && o.Dial == one.Dial && slices.Equal(o.From, one.From)
		}); at >= 0 {
			made[i] = old[at]
		}
	}
	s.siblings.list.Store(&made)
	if len(made) == 0 {
		s.siblings.forget(func(string) bool { return true }, func([]byte) bool { return true })
	}
}

// now are those in use.
func (b *siblings) now() []*sibling {
	if b == nil || b.list.Load() == nil {
		return nil
	}
	return *b.list.Load()
}

// names lists them.
func (b *siblings) names() (list []string) {
	for _, s := range b.now() {
		list = append(list, s.Name)
	}
	return list
}

// at returns the sibling that dials from an address, or nil.
func (b *siblings) at(a net.Addr) *sibling {
	list := b.now()
	if len(list) == 0 {
		return nil
	}
	from := addrPort(a).Addr()
	for _, s := range list {
		if slices.ContainsFunc(s.From, func(p netip.Prefix) bool { return p.Contains(from) }) {
			return s
		}
	}
	return nil
}

// note keeps what a device has said with a claim that is granted, of a name of a kind;
// without siblings nothing.
func (b *siblings) note(key ed25519.PublicKey, c framing.Claim, kind nameKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := &b.kinds[kind]
	in.drop(c.Name)
	if len(c.Siblings) > 0 && len(b.now()) > 0 {
		in.keep(c.Name, word{key: key, siblings: slices.Clone(c.Siblings), rules: c.Rules, made: kind == madeName})
	}
}

// keep adds a word, and makes room for it.
func (l *words) keep(name string, w word) {
	if l.by == nil {
		l.by = make(map[string]word)
	}
	l.held += w.size(name)
	for other := range l.by { // any: without its word a name is served as one that has none
		if len(l.by) < maxWords && l.held <= maxWordBytes {
			break
		}
		l.drop(other)
	}
	l.by[name] = w
}

func (l *words) drop(name string) {
	if w, ok := l.by[name]; ok {
		l.held -= w.size(name)
		delete(l.by, name)
	}
}

// size is how much memory the word of a name takes.
func (w *word) size(name string) int {
	n := wordMemory + len(name) + rulesMemory(w.rules)
	for _, s := range w.siblings {
		n += siblingMemory + len(s)
	}
	return n
}

// of returns the word of a name.
func (b *siblings) of(name string) (w word, ok bool) {
	if len(b.now()) == 0 {
		return word{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.kinds {
		if w, ok = b.kinds[i].by[name]; ok {
			break
		}
	}
	return w, ok
}

// isFor reports whether the device that serves a name with this key has named a sibling.
func (b *siblings) isFor(name string, key ed25519.PublicKey, s *sibling) bool {
	w, ok := b.of(name)
	return ok && w.key.Equal(key) && slices.Contains(w.siblings, s.Name)
}

// forget drops the words of names that are cut. It asks for the key of none but these, and
// without the lock: that takes far longer.
func (b *siblings) forget(named func(name string) bool, of func(key []byte) bool) {
	var all [nameKinds][]held
	b.mu.Lock()
	for i := range b.kinds {
		for name, w := range b.kinds[i].by {
			if named(name) {
				all[i] = append(all[i], held{name, string(w.key)})
			}
		}
	}
	b.mu.Unlock()
	for i, list := range all {
		list = slices.DeleteFunc(list, func(h held) bool { return !of([]byte(h.key)) })
		b.mu.Lock()
		for _, h := range list {
			if l := &b.kinds[i]; string(l.by[h.name].key) == h.key {
				l.drop(h.name)
			}
		}
		b.mu.Unlock()
	}
}

// lead returns a lead to a sibling that the device of a name has named, if one may be
// asked now. Else again says when one may be, and is zero where none ever is. Holder
// returns what stands for the identity that the name belongs to; empty is not known.
func (b *siblings) lead(name string, holder func() string) (l lead, again time.Time, ok bool) {
	w, known := b.of(name)
	if !known {
		return lead{}, again, false
	}
	if h := holder(); h != "" && keyname.Label(w.key, "") != h {
		return lead{}, again, false
	}
	for _, s := range b.now() {
		if !slices.Contains(w.siblings, s.Name) {
			continue
		}
		at := s.mayAsk(name, w.made)
		if at.IsZero() {
			return lead{to: toSibling, sibling: s, rules: w.rules, key: w.key}, again, true
		}
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return lead{}, again, false
}
