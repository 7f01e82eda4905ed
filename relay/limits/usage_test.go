package limits_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/limits"
)

// shelf is a Store in memory.
type shelf struct {
	kept   map[string][]byte
	saves  int
	broken error
}

func (s *shelf) LoadUsage() (map[string][]byte, error) { return maps.Clone(s.kept), s.broken }

func (s *shelf) SaveUsage(changed map[string][]byte) error {
	if s.broken != nil {
		return s.broken
	}
	if s.kept == nil {
		s.kept = make(map[string][]byte)
	}
	for id, v := range changed {
		if s.kept[id] = v; v == nil {
			delete(s.kept, id)
		}
	}
	s.saves++
	return nil
}

func kept(month string, n int) []byte {
	return fmt.Appendf(nil, `{"month":%q,"bytes":%d}`, month, n)
}

// carry lets a visitor carry up to n bytes and returns how many went.
func carry(t *testing.T, o *limits.Owners, name string, n int) (went int) {
	t.Helper()
	v := visit(t, o, name, alice, limits.None)
	defer v.End()
	for went < n {
		got, _ := v.Out().Reserve(n - went)
		if got == 0 {
			return went
		}
		went += got
	}
	return went
}

// What goes both ways counts until the month's bytes are used up. Then streams end
// and new ones are refused, until the next month begins.
func TestMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{}, limits.Owner{BytesPerMonth: 1 << 20})
		v := visit(t, o, "a.test", alice, limits.None)
		in, _ := v.In().Reserve(600 << 10)
		v.In().Return(100 << 10)
		out, _ := v.Out().Reserve(600 << 10)
		if in != 600<<10 || out != 600<<10 { // which it may exceed by what was asked for at once
			t.Errorf("%d bytes in, %d out", in, out)
		}
		if n, _ := v.In().Reserve(1); n != 0 {
			t.Errorf("%d bytes more", n)
		}
		v.End()
		visit(t, o, "a.test", alice, limits.NameBytes)
		visit(t, o, "b.test", alice, limits.None).End()
		until, spent := o.Spent("a.test", alice)
		if want := time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC); !spent || !until.Equal(want) {
			t.Errorf("spent: %v, until %v", spent, until)
		}
		time.Sleep(time.Until(until) - time.Second)
		if err := o.Usage.Upkeep(); err != nil {
			t.Error(err)
		}
		visit(t, o, "a.test", alice, limits.NameBytes)
		time.Sleep(time.Second)
		if err := o.Usage.Upkeep(); err != nil {
			t.Error(err)
		}
		if n := carry(t, o, "a.test", 100); n != 100 {
			t.Errorf("%d bytes of the next month", n)
		}
	})
}

// The identity's bytes are those of all of its names, but for names whose token
// has its own.
func TestMonthOfIdentity(t *testing.T) {
	o := owners(limits.Owner{BytesPerMonth: 1000}, limits.Owner{})
	carry(t, o, "a.test", 600)
	carry(t, o, "b.test", 600)
	visit(t, o, "c.test", alice, limits.IdentityBytes)
	visit(t, o, "d.test", bob, limits.None)
}

// The bytes that an identity has used count for its heir, which so gets no second month.
func TestMonthOfAnHeir(t *testing.T) {
	o := owners(limits.Owner{BytesPerMonth: 1000}, limits.Owner{})
	carry(t, o, "a.test", 1200)
	o.Inherit(alice, bob)
	o.Inherit(ed25519.PublicKey("a key that has used nothing at all"), bob)
	visit(t, o, "d.test", bob, limits.IdentityBytes)
}

// The counts are kept over a restart, but for what was not saved; those of another
// month are not taken up.
func TestUsageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(shelf)
		start := func() *limits.Owners {
			o := new(limits.Owners)
			o.Usage.Store = s
			if err := o.Usage.Load(); err != nil {
				t.Fatal(err)
			}
			o.Set(limits.Config{Name: limits.Owner{BytesPerMonth: 1000}, Identity: limits.Owner{BytesPerMonth: 5000}})
			return o
		}
		o := start()
		carry(t, o, "a.test", 700)
		if err := o.Usage.Upkeep(); err != nil {
			t.Fatal(err)
		}
		if err := o.Usage.Upkeep(); err != nil || s.saves != 1 {
			t.Errorf("%d saves, %v", s.saves, err)
		}
		carry(t, o, "a.test", 200) // is lost

		o = start()
		carry(t, o, "a.test", 300)
		visit(t, o, "a.test", alice, limits.NameBytes)
		for id, used := range s.kept {
			if want := kept("2000-01", 700); !bytes.Equal(used, want) {
				t.Errorf("%s has %s, want %s", id, used, want)
			}
		}
		if len(s.kept) != 2 {
			t.Errorf("%d are kept", len(s.kept))
		}
		time.Sleep(31 * 24 * time.Hour)
		o = start()
		if err := o.Usage.Upkeep(); err != nil || len(s.kept) != 0 {
			t.Errorf("of the month before %v is kept, %v", s.kept, err)
		}
		if n := carry(t, o, "a.test", 900); n != 900 {
			t.Errorf("%d bytes in the next month", n)
		}
	})
}

// When a month ends while the relay runs, what was kept of it goes.
func TestMonthTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(shelf)
		o := new(limits.Owners)
		o.Usage.Store = s
		o.Set(limits.Config{Name: limits.Owner{BytesPerMonth: 1000}})
		save := func(want string) {
			t.Helper()
			if err := o.Usage.Upkeep(); err != nil || string(s.kept["name a.test"]) != want {
				t.Errorf("%q is kept, %v", s.kept["name a.test"], err)
			}
		}
		carry(t, o, "a.test", 700)
		save(string(kept("2000-01", 700)))
		time.Sleep(31 * 24 * time.Hour)
		save("")
		carry(t, o, "a.test", 700)
		save(string(kept("2000-02", 700)))
	})
}

// What cannot be saved is saved the next time.
func TestSaveFails(t *testing.T) {
	s := &shelf{broken: errors.New("the disk is full")}
	o := new(limits.Owners)
	o.Usage.Store = s
	o.Set(limits.Config{Name: limits.Owner{BytesPerMonth: 1000}})
	carry(t, o, "a.test", 10)
	if err := o.Usage.Upkeep(); !errors.Is(err, s.broken) {
		t.Errorf("got %v", err)
	}
	if err := o.Usage.Load(); !errors.Is(err, s.broken) {
		t.Errorf("got %v", err)
	}
	s.broken = nil
	if err := o.Usage.Upkeep(); err != nil || !bytes.Contains(s.kept["name a.test"], []byte("10")) {
		t.Errorf("got %v, %v", err, s.kept)
	}
}

// However many owners there are, no more than so many are remembered and kept:
// those that used most.
func TestUsageIsBounded(t *testing.T) {
	s := &shelf{kept: make(map[string][]byte)}
	month := time.Now().UTC().Format("2006-01")
	s.kept["name greedy.test"] = kept(month, 1000)
	for i := range 5000 {
		s.kept[fmt.Sprint("name ", i)] = kept(month, 1)
	}
	o := new(limits.Owners)
	o.Usage.Store = s
	o.Usage.Shrink(100)
	if err := o.Usage.Load(); err != nil {
		t.Fatal(err)
	}
	o.Set(limits.Config{Name: limits.Owner{BytesPerMonth: 1000}})
	visit(t, o, "greedy.test", alice, limits.NameBytes)
	if err := o.Usage.Upkeep(); err != nil || len(s.kept) > 100 {
		t.Errorf("%d are kept, %v", len(s.kept), err)
	}
}
