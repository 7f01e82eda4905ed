package limits

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxUsed is how many owners' bytes of this month are remembered. Beyond it those
// that used least are forgotten, down to half of it.
const maxUsed = 1 << 17

// A Store keeps what owners have used: values, by texts that stand for the owners.
// SaveUsage is called with what has changed; nil takes an owner out. It is called at
// most once a minute and at the end, and never at the same time as itself.
type Store interface {
	LoadUsage() (map[string][]byte, error)
	SaveUsage(map[string][]byte) error
}

// A SharedStore is a Store to which several relays save what they have carried, where
// Shared says so: then AddUsage is called in the place of SaveUsage. It gives add the
// value of each of some owners, nil for none, and keeps what that returns, where nil
// takes the owner out. It may call add several times for one owner, of which the last
// counts. Where it fails, what is left may be counted twice.
type SharedStore interface {
	Store
	Shared() bool
	AddUsage(owners []string, add func(owner string, kept []byte) []byte) error
}

// A used is the value that Store has of an owner, as JSON: what it has used of a month.
type used struct {
	Month string `json:"month"` // as in 2026-11, in UTC
	Bytes int64  `json:"bytes"`
}

// A Usage counts the bytes of this month. The zero value keeps them in memory
// alone. Its field is set before the first call.
type Usage struct {
	// Store keeps the counts over restarts; nil is none. What was used since the
	// last Upkeep is lost where the process is killed.
	Store Store

	saving sync.Mutex
	shared time.Time // when all was shared last; guarded by saving

	mu     sync.Mutex
	max    int // maxUsed
	month  string
	owners map[string]*tab
	drop   map[string]bool // owners whose value in Store is to be taken out
}

// A tab is what one owner has used.
type tab struct {
	bytes atomic.Int64
	saved int64 // what Store has, guarded by Usage.mu; 0 is nothing, below 0 is not known. In a shared one, what of it counts here
}

// monthOf is the month of a time, as it is kept.
func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

func nextMonth(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// Load reads what was kept of this month. It is called once, before the first
// visitor.
func (u *Usage) Load() error {
	if u.Store == nil {
		return nil
	}
	kept, err := u.Store.LoadUsage()
	if err != nil {
		return fmt.Errorf("read what was used of the month: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beginMonthLocked()
	for id, value := range kept {
		var k used
		if json.Unmarshal(value, &k) != nil || k.Month != u.month || k.Bytes <= 0 {
			u.drop[id] = true
			continue
		}
		t := u.ofLocked(id)
		t.saved = t.bytes.Add(k.Bytes)
	}
	return nil
}

// of returns the count of an owner.
func (u *Usage) of(id string) *tab {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beginMonthLocked()
	return u.ofLocked(id)
}

// inherit adds what one owner has used to what another one has.
func (u *Usage) inherit(from, to string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beginMonthLocked()
	if t := u.owners[from]; t != nil {
		u.ofLocked(to).bytes.Add(t.bytes.Load())
	}
}

func (u *Usage) ofLocked(id string) *tab {
	t := u.owners[id]
	if t == nil {
		if len(u.owners) >= or(u.max, maxUsed) {
			u.halveLocked()
		}
		t = new(tab)
		if u.drop[id] {
			t.saved = -1
			delete(u.drop, id)
		}
		u.owners[id] = t
	}
	return t
}

// halveLocked forgets the half that has used least.
func (u *Usage) halveLocked() {
	ids := slices.SortedFunc(maps.Keys(u.owners), func(a, b string) int {
		return cmp.Compare(u.owners[a].bytes.Load(), u.owners[b].bytes.Load())
	})
	for _, id := range ids[:len(ids)/2] {
		if u.owners[id].saved != 0 && u.sharedStore() == nil {
			u.drop[id] = true
		}
		delete(u.owners, id)
	}
}

// beginMonthLocked begins a new month when it is time.
func (u *Usage) beginMonthLocked() {
	month := monthOf(time.Now())
	if month == u.month {
		return
	}
	u.month = month
	if u.owners == nil {
		u.owners, u.drop = make(map[string]*tab), make(map[string]bool)
	}
	for _, t := range u.owners {
		t.bytes.Store(0)
		if t.saved != 0 {
			t.saved = -1
		}
		if u.sharedStore() != nil {
			t.saved = 0
		}
	}
}

// Upkeep begins a new month when it is time, and saves what has changed; to a shared
// store an owner's bytes once they are some, or an hour has passed, and it takes up what
// other relays have saved. It is to be called about once a minute.
func (u *Usage) Upkeep() error { return u.upkeep(false) }

// Keep is Upkeep at the end: it leaves nothing for later.
func (u *Usage) Keep() error { return u.upkeep(true) }

func (u *Usage) upkeep(end bool) error {
	u.saving.Lock()
	defer u.saving.Unlock()
	if s := u.sharedStore(); s != nil {
		return u.share(s, end)
	}
	changed := u.changed()
	if u.Store == nil || len(changed) == 0 {
		return nil
	}
	err := u.Store.SaveUsage(changed)
	if err == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range changed { // once more next time
		if t := u.owners[id]; t != nil {
			t.saved = -1
		} else {
			u.drop[id] = true
		}
	}
	return fmt.Errorf("keep what was used of the month: %w", err)
}

// changed returns what is to be saved. From then on it counts as saved.
func (u *Usage) changed() map[string][]byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beginMonthLocked()
	changed := make(map[string][]byte)
	for id := range u.drop {
		changed[id] = nil
	}
	clear(u.drop)
	for id, t := range u.owners {
		n := t.bytes.Load()
		if n == t.saved {
			continue
		}
		if t.saved = n; n == 0 {
			changed[id] = nil
			continue
		}
		changed[id], _ = json.Marshal(used{u.month, n}) // which cannot fail
	}
	return changed
}
