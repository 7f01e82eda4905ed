package relays

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/relaylist"
	"keystay/remote"
)

// maxTried is how many relays are linked to, one after the other, until one lets the
// device in.
const maxTried = 3

// A Chooser takes a relay of a list. Source.List, Keep, Ask and Try are required.
type Chooser struct {
	Source Source
	Keep   Keep
	Need   Need

	// Ask asks a relay what it says of itself, and shows no identity. It is called for
	// all relays at once.
	Ask func(ctx context.Context, relay string) (remote.About, error)

	// Try links to a relay with the device's identity.
	Try func(ctx context.Context, relay string) error
}

// A Look is what a list and its relays are now.
type Look struct {
	List   *relaylist.List
	Seen   Seen     // by whom the list is signed
	First  bool     // nobody has said that this key is trusted, and none was kept
	Ranked []Ranked // the best one first
}

// Look fetches the list, decides whether it counts, and ranks its relays. It changes
// nothing.
func (c *Chooser) Look(ctx context.Context) (*Look, error) {
	seen, err := c.Keep.Seen(c.Source.List)
	if err != nil {
		return nil, err
	}
	l, err := c.Source.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	look := &Look{List: l}
	if look.Seen, look.First, err = Trust(l, c.Source.Keys, seen, time.Now()); err != nil {
		return nil, err
	}
	look.Ranked = Rank(ctx, l.Relays, c.Need, c.Ask)
	return look, ctx.Err()
}

// Take links to the best relays of a look, one after the other, until one lets the
// device in, and keeps that one, with what is to be remembered of the list. Unless anew
// is true, a relay that was kept meanwhile stays.
func (c *Chooser) Take(ctx context.Context, look *Look, anew bool) (Taken, error) {
	var errs []error
	for i := range look.Ranked {
		r := &look.Ranked[i]
		if !r.Fits() || len(errs) == maxTried {
			break
		}
		if err := c.Try(ctx, r.Address); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Address, err))
			continue
		}
		if err := c.Keep.Remember(look.Seen); err != nil {
			return Taken{}, err
		}
		return c.Keep.Take(Taken{Relay: r.Address, List: c.Source.List, Why: look.why(i), At: time.Now().UTC().Truncate(time.Second)}, anew)
	}
	if err := errors.Join(errs...); err != nil {
		return Taken{}, hint.ListNoLink.Error(err)
	}
	return Taken{}, look.none()
}

// counts returns how many relays there are of each kind.
func (l *Look) counts() (fit, lack, away int) {
	for i := range l.Ranked {
		switch r := &l.Ranked[i]; {
		case r.Fits():
			fit++
		case r.Err == nil:
			lack++
		default:
			away++
		}
	}
	return fit, lack, away
}

// why says why the relay at i was taken.
func (l *Look) why(i int) string {
	fit, lack, away := l.counts()
	place := "the nearest"
	if i > 0 {
		place = fmt.Sprintf("number %d by distance, since those before gave no link,", i+1)
	}
	text := fmt.Sprintf("%s of %d that can serve this device, %d ms away", place, fit, l.Ranked[i].About.RoundTrip.Milliseconds())
	if lack > 0 {
		text += fmt.Sprintf("; %d cannot", lack)
	}
	if away > 0 {
		text += fmt.Sprintf("; %d not reached", away)
	}
	return text
}

// none says why no relay can be taken.
func (l *Look) none() error {
	_, lack, away := l.counts()
	first := l.Ranked[0]
	why := first.Lacks
	if first.Err != nil {
		why = plain.Text(first.Err.Error())
	}
	return hint.ListNoRelay.Error(fmt.Errorf("no relay of %q can be taken: %d not reached, %d cannot serve this device; %s: %s", plain.Text(l.List.Name), away, lack, first.Address, why))
}
