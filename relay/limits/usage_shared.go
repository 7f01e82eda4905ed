package limits

import (
	"encoding/json"
	"fmt"
	"time"
)

const (
	// shareAt is how many bytes of an owner a relay carries before it tells the others,
	// and shareEvery how long it keeps fewer to itself: each telling costs all of them.
	shareAt    = 64 << 20
	shareEvery = time.Hour
)

// sharedStore is Store where others save to it, too, and else nil.
func (u *Usage) sharedStore() SharedStore {
	if s, ok := u.Store.(SharedStore); ok && s.Shared() {
		return s
	}
	return nil
}

// share adds what was carried here to what the store has, and takes up what others have
// carried.
func (u *Usage) share(s SharedStore, end bool) error {
	if time.Since(u.shared) >= shareEvery {
		end = true
	}
	month, more := u.unshared(end)
	owners := make([]string, 0, len(more))
	for id := range more {
		owners = append(owners, id)
	}
	sums := make(map[string]int64)
	err := s.AddUsage(owners, func(id string, value []byte) []byte {
		var k used
		if json.Unmarshal(value, &k) != nil || k.Month != month {
			k = used{Month: month}
		}
		k.Bytes = max(0, k.Bytes) + more[id]
		sums[id] = k.Bytes
		if k.Bytes == 0 {
			return nil
		}
		b, _ := json.Marshal(k) // which cannot fail
		return b
	})
	if err != nil {
		return fmt.Errorf("keep what was used of the month: %w", err)
	}
	u.counted(month, more, sums)
	if end {
		u.shared = time.Now()
	}
	kept, err := s.LoadUsage()
	if err != nil {
		return fmt.Errorf("read what was used of the month: %w", err)
	}
	u.takeUp(kept)
	return nil
}

// unshared returns what was carried here of this month, and the store does not know; of
// an owner with less than shareAt only where all is wanted. With no bytes are owners whose
// value is of another month.
func (u *Usage) unshared(all bool) (month string, more map[string]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beginMonthLocked()
	more = make(map[string]int64)
	for id := range u.drop {
		more[id] = 0
	}
	clear(u.drop)
	for id, t := range u.owners {
		if n := t.bytes.Load() - t.saved; n >= shareAt || all && n > 0 {
			more[id] = n
		}
	}
	return u.month, more
}

// counted notes what the store has now, of which the bytes in more were carried here.
func (u *Usage) counted(month string, more, sums map[string]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.month != month {
		return
	}
	for id, sum := range sums {
		if t := u.owners[id]; t != nil {
			t.bytes.Add(sum - t.saved - more[id])
			t.saved = sum
		}
	}
}

// takeUp makes what others have carried count here.
func (u *Usage) takeUp(kept map[string][]byte) {
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
		t.bytes.Add(k.Bytes - max(0, t.saved))
		t.saved = k.Bytes
	}
}
