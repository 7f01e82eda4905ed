package names

import (
	"fmt"
	"time"
)

const (
	// maxOff is how long a relay may be off between two runs without anybody
	// noticing. A longer time is taken for a clock that is wrong.
	maxOff = 7 * 24 * time.Hour
	// clockSlack is how far a clock may be put right without a word about it.
	clockSlack = time.Hour
)

// A clock is the time of the record: a grant expires by it, and by nothing else.
// It makes sure that a machine whose clock is wrong gives no name away.
//
//   - While the relay runs, the record's time goes on as time passes, whatever
//     the machine's clock is set to meanwhile: it comes from the monotonic clock.
//   - Between two runs it goes on by what the machine's clock says that has
//     passed, when that is at most maxOff. When it is more, or less than nothing,
//     the machine's clock was or is wrong, or the relay was off for long: then
//     the record's time stands still in between, and the log says so. A name
//     may be kept for longer than GrantTime, but never for less.
//   - So a clock that is wrong by years does nothing, however often the relay is
//     started with it, and nothing is to be undone when it is put right.
//   - In a record of a version that did not keep this time, it was the time when
//     the latest of its grants was used.
//   - What stands in the record as used in the future, because an older version
//     wrote it by a wrong clock, counts as used now.
//   - A holder that is connected is noted as seen every hour, before anything is
//     swept. So its name does not expire. It is asked first, too: a claim of a name
//     that somebody is connected for never gets as far as the record.
//
// Labels made from keys have no grant, and tokens no time.
type clock struct {
	base time.Time // the record's time when it was opened
	at   time.Time // when that was: with a reading of the monotonic clock

	wall  func() time.Time // the machine's clock
	said  time.Time        // what it said when jumped was last asked
	asked time.Time        // when that was: with a reading of the monotonic clock
}

// startClock continues the time of a record that had the time ran when the
// machine's clock said then. The text says that the machine's clock has jumped,
// or is empty.
func startClock(ran, then time.Time, wall func() time.Time) (c clock, jumped string) {
	now := wholeSeconds(wall())
	off := now.Sub(then)
	if off < -clockSlack || off > maxOff {
		jumped = jump(then, now)
	}
	if off < 0 || off > maxOff {
		off = 0
	}
	base := wholeSeconds(ran.Add(off))
	if base.Unix() < 0 { // no time for a record, which sorts names by it
		base = wholeSeconds(time.Unix(0, 0))
	}
	return clock{base: base, at: time.Now(), wall: wall, said: now, asked: time.Now()}, jumped
}

// wholeSeconds is a time without its reading of the monotonic clock, in whole seconds.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// now returns the record's time.
func (c *clock) now() time.Time { return wholeSeconds(c.base.Add(time.Since(c.at))) }

// jumped says that the machine's clock has jumped since this was last asked, or
// returns nothing.
func (c *clock) jumped() string {
	due, now := c.said.Add(time.Since(c.asked)), wholeSeconds(c.wall())
	c.said, c.asked = now, time.Now()
	if by := now.Sub(due); by < -clockSlack || by > clockSlack {
		return jump(due, now)
	}
	return ""
}

func jump(from, to time.Time) string {
	return fmt.Sprintf("from %s to %s", from.Format(time.DateTime), to.Format(time.DateTime))
}
