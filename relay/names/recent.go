package names

import (
	"strings"
	"sync"
	"time"

	"keystay/internal/keyname"
)

const (
	// maxRecent is how many labels made from keys are remembered, twice.
	maxRecent = 8192
	// recentTime is how long one is remembered at least, unless more than
	// maxRecent others come: visitors wait for a device that is about to be back,
	// not for one that has gone.
	recentTime = 12 * time.Hour
	// restartTime is how long after its start the relay takes every label made from
	// a key for one that it knows: it remembers none yet, and devices come back
	// from a restart within seconds.
	restartTime = time.Minute
)

// recent remembers the labels made from keys that were served here. They are kept
// nowhere else: such a label proves itself, and if it were written down everybody
// could fill the record. The zero value is ready.
type recent struct {
	mu        sync.Mutex
	began     time.Time           // when the relay has started
	now, past map[string]struct{} // names
	rotated   time.Time           // when now became empty
}

// begin notes the start of the relay.
func (r *recent) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
}

func (r *recent) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rotate()
	if r.now == nil {
		r.now = make(map[string]struct{})
	}
	r.now[name] = struct{}{}
}

func (r *recent) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rotate()
	_, now := r.now[name]
	_, past := r.past[name]
	return now || past || time.Since(r.began) < restartTime
}

// rotate forgets the older half in time.
func (r *recent) rotate() {
	age := time.Since(r.rotated)
	if len(r.now) < maxRecent && age < recentTime {
		return
	}
	if r.past = r.now; age > 2*recentTime {
		r.past = nil
	}
	r.now, r.rotated = nil, time.Now()
}

// looksMade reports whether a label of name, at any depth below zone, has the form
// of one that is made from a key, and another one than this key with this word. People take such a
// name for that device's.
func looksMade(name, zone string, key []byte, word string) bool {
	own := keyname.Label(key, word)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."+zone), ".") {
		if keyname.Is(label) && label != own {
			return true
		}
	}
	return false
}

// madeBy returns the label made from a key that name, below zone, ends in, or
// nothing; alone reports that name is that label, and not below it.
func madeBy(name, zone string) (label string, alone bool) {
	below, ok := strings.CutSuffix(name, "."+zone)
	if !ok {
		return "", false
	}
	label = below[strings.LastIndexByte(below, '.')+1:]
	if !keyname.Is(label) {
		return "", false
	}
	return label, label == below
}
