package limits_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/limits"
)

// A sharedShelf is a shelf of several relays.
type sharedShelf struct{ shelf }

func (s *sharedShelf) Shared() bool { return true }

func (s *sharedShelf) AddUsage(owners []string, add func(string, []byte) []byte) error {
	if s.broken != nil {
		return s.broken
	}
	changed := make(map[string][]byte)
	for _, id := range owners {
		add(id, []byte("not the last time")) // as in a transaction that others were before
		changed[id] = add(id, s.kept[id])
	}
	return s.SaveUsage(changed)
}

// What several relays carry of one name counts together, and each knows of the others'
// within an upkeep; few bytes are told at the end, or within the hour.
func TestBytesOfSeveralRelaysAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 300 << 20
		s := new(sharedShelf)
		relay := func() *limits.Owners {
			o := owners(limits.Owner{}, limits.Owner{BytesPerMonth: most})
			o.Usage.Store = s
			if err := o.Usage.Load(); err != nil {
				t.Fatal(err)
			}
			return o
		}
		upkeep := func(list ...*limits.Owners) {
			for range 2 { // the first one of them hears of the last one's in the next
				for _, o := range list {
					if err := o.Usage.Upkeep(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		a, b := relay(), relay()
		upkeep(a, b) // the first after the start tells all
		carry(t, a, "a.test", 100<<20)
		carry(t, b, "a.test", 100<<20)
		s.broken = errors.New("away")
		if a.Usage.Upkeep() == nil {
			t.Error("no error while the store is away")
		}
		s.broken = nil
		upkeep(a, b)
		if _, spent := a.Spent("a.test", alice); spent {
			t.Error("200 MiB of 300 are all")
		}
		carry(t, b, "a.test", 100<<20)
		upkeep(b, a)
		if _, spent := a.Spent("a.test", alice); !spent {
			t.Error("what the other relay has carried does not count here")
		}
		if _, spent := b.Spent("a.test", alice); !spent {
			t.Error("what was carried here before does not count any more")
		}
		carry(t, a, "few.test", 1000)
		saves := s.saves
		upkeep(a)
		if string(s.kept["name few.test"]) != "" {
			t.Errorf("few bytes are told at once, in %d transactions", s.saves-saves)
		}
		if err := a.Usage.Keep(); err != nil || string(s.kept["name few.test"]) != `{"month":"2000-01","bytes":1000}` {
			t.Errorf("at the end: %q, %v", s.kept["name few.test"], err)
		}
		carry(t, b, "few.test", 500)
		time.Sleep(time.Hour)
		upkeep(b)
		if string(s.kept["name few.test"]) != `{"month":"2000-01","bytes":1500}` {
			t.Errorf("after an hour: %q", s.kept["name few.test"])
		}
		until, _ := a.Spent("a.test", alice)
		time.Sleep(time.Until(until))
		upkeep(a, b)
		if _, spent := b.Spent("a.test", alice); spent {
			t.Error("the next month has not begun")
		}
		carry(t, b, "a.test", 100<<20)
		upkeep(b, a)
		if got := string(s.kept["name a.test"]); got != `{"month":"2000-02","bytes":104857600}` {
			t.Errorf("of the next month: %q", got)
		}
		c := relay()
		carry(t, c, "a.test", most-100<<20)
		if _, spent := c.Spent("a.test", alice); !spent {
			t.Error("a relay that begins does not know of what was carried")
		}
	})
}
