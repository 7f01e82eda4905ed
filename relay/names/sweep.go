package names

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// first returns the least time of a table that sorts names by a time, or nothing.
func (l *ledger) first(t Table) (at time.Time, name string, err error) {
	for k := range l.From(t, nil) {
		return parseTimeKey(k)
	}
	return at, "", nil
}

// sweepNext returns the grant that sweep is to change next, or nil: one of which
// nothing is left, one that has expired, or one that was seen in the future.
func (l *ledger) sweepNext() (name string, gr *grant, err error) {
	at, name, err := l.first(tableLapses)
	if err == nil && (name == "" || at.After(l.Now())) {
		at, name, err = l.first(tableAges)
		if err == nil && name != "" && !l.expired(at) {
			at, name = l.lastAge()
		}
	}
	if err != nil || name == "" {
		return "", nil, err
	}
	gr, err = l.raw(name)
	if err == nil && (gr == nil || !slices.ContainsFunc(gr.entries(name), func(e Entry) bool { return bytes.Equal(e.Key, timeKey(at, name)) })) {
		err = fmt.Errorf("%w: a name has two ages", ErrDamaged)
	}
	return name, gr, err
}

// lastAge returns the name that was seen last, if that was in the future.
func (l *ledger) lastAge() (at time.Time, name string) {
	at, name, err := parseTimeKey(l.Last(tableAges))
	if err != nil || !at.After(l.Now().Add(clockSlack)) {
		return at, ""
	}
	return at, name
}

// sweep changes up to limit grants, and returns how many. It drops those of which
// nothing is left. Of one that has expired it notes until when its name is kept, and
// calls lapsed, which may be nil. One that was seen in the future, by a clock that
// was wrong, it notes as seen now.
func (l *ledger) sweep(limit int, lapsed func(name string, key []byte)) (n int, err error) {
	for ; n < limit; n++ {
		name, gr, err := l.sweepNext()
		switch {
		case err != nil:
			return n, err
		case gr == nil:
			return n, nil
		case l.over(gr):
			err = l.drop(name, gr)
		case !l.live(gr):
			err = l.lapse(name, gr, l.keptUntil(gr))
		default:
			err = l.seen(name, gr)
		}
		if err != nil {
			return n, err
		}
		if lapsed != nil && gr.Until.IsZero() && l.expired(gr.Seen) {
			lapsed(name, gr.Key)
		}
	}
	return n, nil
}
