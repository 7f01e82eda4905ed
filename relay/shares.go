package relay

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/hint"
	"keystay/internal/keyname"
)

const (
	// maxLinksPerIdentity is how many links one identity may have. A run keeps two
	// to a relay, and replicas share their identity: it is 16 replicas that all come
	// back at once, while the links that they have lost still count, for up to
	// framing.SilenceLimit.
	maxLinksPerIdentity = 64
	// linkMemory is what each link counts for, in bytes, whatever it carries.
	linkMemory = 24 << 10
	// ruleMemory is what each range of the rules of a name counts for, on top.
	ruleMemory = 32
	// shortInterval is how often the log says that memory is used up.
	shortInterval = time.Minute
	// unfinishedPart: one part in so many of that is for connections without an
	// owner: hellos, visitors who wait, handshakes for the relay's own name.
	unfinishedPart = 4
)

// MinMemory is the least that Server.Memory may be, in bytes.
const MinMemory = 16 << 20

// DefaultMemory is what links, hellos and waiting visitors share where
// Server.Memory does not say, in bytes: half of what the process may have. The
// rest is for the program itself, for garbage that is not collected yet, and for
// the kernel's buffers, which a control group counts too.
func DefaultMemory() int64 {
	available, _ := budget.Available()
	return available / 2
}

// shares divide the memory that others may make the server hold: one for links, of
// which each identity has a part, and one for connections without an owner. Make
// them with newShares.
type shares struct {
	log        *slog.Logger
	memory     *budget.Budget // of links
	devices    identities
	unfinished unfinished
	crowded    quota // for lines about devices with too many links: anybody can cause them, with keys made at will

	refused atomic.Int64 // for want of memory
	told    atomic.Int64 // when the log had it, in nanoseconds since 1970
}

// newShares divides limit, in bytes, as [Server.Memory] has it.
func newShares(limit int64, log *slog.Logger) *shares {
	if limit <= 0 {
		limit = DefaultMemory()
	}
	limit = max(limit, MinMemory)
	return &shares{log: log, unfinished: unfinished{limit: int(limit / unfinishedPart)}, memory: budget.New(limit - limit/unfinishedPart)}
}

// admitLink counts a link of key, or says why it may not be.
func (m *shares) admitLink(key ed25519.PublicKey) (*identity, *framing.Refusal) {
	id, refusal, first := m.devices.join(key, m.memory)
	if first {
		if left, ok := m.crowded.take(refusedLines, time.Minute); ok {
			m.log.Warn("a device has too many links; those beyond are refused", "identity", keyname.Label(key, ""), "links", maxLinksPerIdentity,
				hint.Attr(hint.TooManyLinks.Do), left)
		}
	}
	if refusal == nil && id == nil {
		m.outOfMemory()
		refusal = &framing.Refusal{Code: framing.RefusedBusy, Text: "the relay has no memory for another link of this device now"}
	}
	return id, refusal
}

// outOfMemory notes that somebody was refused for want of memory. The log has it
// once in shortInterval.
func (m *shares) outOfMemory() {
	m.refused.Add(1)
	now := time.Now().UnixNano()
	if last := m.told.Load(); now-last > int64(shortInterval) && m.told.CompareAndSwap(last, now) {
		used, _, _ := m.unfinished.usage()
		m.log.Warn("the memory for links and visitors is used up; some are refused", "links", m.memory.Used(), "of", m.memory.Limit(),
			"unfinished", used, "of_unfinished", m.unfinished.limit, hint.Attr(hint.MemoryUsedUp.Do))
	}
}

// held returns how many bytes are held now, and how many may be.
func (m *shares) held() (used, limit int64) {
	unfinished, _, _ := m.unfinished.usage()
	return m.memory.Used() + int64(unfinished), m.memory.Limit() + int64(m.unfinished.limit)
}

// An identity is what the links of one key share.
type identity struct {
	key    string
	memory *budget.Share
	links  int  // that are up
	refs   int  // sessions, of which some may have lanes alone
	told   bool // the log has it that there are too many
}

// identities are those that have sessions. The zero value is ready.
type identities struct {
	mu  sync.Mutex
	all map[string]*identity
}

// join counts a link of key, with its part of b. Where there are too many it returns
// what to tell the remote; first reports that this is news. Without memory it
// returns nothing.
func (i *identities) join(key ed25519.PublicKey, b *budget.Budget) (id *identity, refusal *framing.Refusal, first bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id = i.all[string(key)]
	if id == nil {
		id = &identity{key: string(key), memory: b.Share()}
	}
	if id.links >= maxLinksPerIdentity {
		first, id.told = !id.told, true
		return nil, &framing.Refusal{Code: framing.RefusedBusy,
			Text: fmt.Sprintf("this device has %d links here already, and may not have more", id.links)}, first
	}
	if id.memory.Take(linkMemory, linkMemory) == 0 {
		return nil, nil, false
	}
	id.links++
	id.refs++
	if i.all == nil {
		i.all = make(map[string]*identity)
	}
	i.all[id.key] = id
	return id, nil, false
}

// rulesMemory is what the rules of a claim count for, in bytes.
func rulesMemory(r framing.Rules) int { return ruleMemory * (cap(r.Allow) + cap(r.Deny)) }

// takeRules takes the memory of a claim's rules. It reports false where there is none.
func (id *identity) takeRules(r framing.Rules) bool {
	n := rulesMemory(r)
	return n == 0 || id.memory.Take(n, n) > 0
}

// putRules gives it back.
func (id *identity) putRules(r framing.Rules) {
	if n := rulesMemory(r); n > 0 {
		id.memory.Put(n)
	}
}

// lost counts that a link of id is over. What it has on lanes may go on.
func (i *identities) lost(id *identity) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if id.links--; id.links < maxLinksPerIdentity/2 {
		id.told = false
	}
}

// leave counts that nothing is left of a link that is lost.
func (i *identities) leave(id *identity) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaveLocked(id, linkMemory)
}

func (i *identities) leaveLocked(id *identity, memory int) {
	id.memory.Put(memory)
	if id.refs--; id.refs == 0 {
		delete(i.all, id.key)
	}
}

// borrow takes n bytes of what key may have of b, for a lane of a link at another node.
// It returns nil where there is none.
func (i *identities) borrow(key ed25519.PublicKey, b *budget.Budget, n int) *identity {
	i.mu.Lock()
	defer i.mu.Unlock()
	id := i.all[string(key)]
	if id == nil {
		id = &identity{key: string(key), memory: b.Share()}
	}
	if id.memory.Take(n, n) == 0 {
		return nil
	}
	id.refs++
	if i.all == nil {
		i.all = make(map[string]*identity)
	}
	i.all[id.key] = id
	return id
}

// giveBack ends borrow.
func (i *identities) giveBack(id *identity, n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaveLocked(id, n)
}
