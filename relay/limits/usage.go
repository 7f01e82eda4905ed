package limits

import (
	"cmp"
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

// A Used is how many bytes an owner has used in a month.
type Used struct {
	Month string `json:"month"` // as in 2026-11, in UTC
	Bytes int64  `json:"bytes"`
}

// A Store keeps what owners have used, by opaque texts that stand for them. Save is
// called with what has changed, at most once a minute, and never at the same time
// as itself.
type Store interface {
	LoadUsed() (map[string]Used, error)
	SaveUsed(map[string]Used) error
}

// A Usage counts the bytes of this month. The zero value keeps them in memory
// alone. Its field is set before the first call.
type Usage struct {
	// Store keeps the counts over restarts. What was used since the last Save is
	// lost where the process is killed: that of a minute.
	Store Store

	saving sync.Mutex

	mu     sync.Mutex
	max    int // maxUsed
	month  string
	owners map[string]*tab
}

// A tab is what one owner has used.
type tab struct {
	bytes atomic.Int64
	saved int64 // guarded by Usage.mu
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
	kept, err := u.Store.LoadUsed()
	if err != nil {
		return fmt.Errorf("read what was used of the month: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.turnLocked()
	for id, used := range kept {
		if used.Month == u.month && used.Bytes > 0 {
			t := u.ofLocked(id)
			t.bytes.Add(used.Bytes)
			t.saved = t.bytes.Load()
		}
	}
	return nil
}

// of returns the count of an owner.
func (u *Usage) of(id string) *tab {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.turnLocked()
	return u.ofLocked(id)
}

func (u *Usage) ofLocked(id string) *tab {
	t := u.owners[id]
	if t == nil {
		if len(u.owners) >= or(u.max, maxUsed) {
			u.halveLocked()
		}
		t = new(tab)
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
		delete(u.owners, id)
	}
}

// turnLocked begins a new month when it is time.
func (u *Usage) turnLocked() {
	month := monthOf(time.Now())
	if month == u.month {
		return
	}
	u.month = month
	if u.owners == nil {
		u.owners = make(map[string]*tab)
	}
	for _, t := range u.owners {
		t.bytes.Store(0)
		t.saved = 0
	}
}

// Upkeep begins a new month when it is time, and saves what has changed. It is to
// be called about once a minute, and at the end.
func (u *Usage) Upkeep() error {
	u.saving.Lock()
	defer u.saving.Unlock()
	u.mu.Lock()
	u.turnLocked()
	changed := make(map[string]Used)
	for id, t := range u.owners {
		if n := t.bytes.Load(); n != t.saved {
			changed[id] = Used{u.month, n}
			t.saved = n
		}
	}
	u.mu.Unlock()
	if u.Store == nil || len(changed) == 0 {
		return nil
	}
	if err := u.Store.SaveUsed(changed); err != nil {
		u.mu.Lock()
		for id := range changed {
			if t := u.owners[id]; t != nil {
				t.saved = -1 // once more next time
			}
		}
		u.mu.Unlock()
		return fmt.Errorf("keep what was used of the month: %w", err)
	}
	return nil
}
