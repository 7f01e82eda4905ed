package owners

import (
	"testing"
	"time"
)

// step is one request, begun and answered at these ticks; 0 is never answered.
type step struct {
	from, to int64
	identity string // empty: a release
	outcome  Outcome
}

// One owner at a time is found where there was one, and two where there were two.
func TestTwoOwnersAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		steps []step
		ok    bool
	}{
		"one after the other":                    {[]step{{1, 2, "a", Granted}, {3, 4, "b", Taken}, {5, 6, "a", Granted}}, true},
		"two owners":                             {[]step{{1, 2, "a", Granted}, {3, 4, "b", Granted}}, false},
		"two owners at once":                     {[]step{{1, 4, "a", Granted}, {2, 3, "b", Granted}}, false},
		"taken from nobody":                      {[]step{{1, 2, "b", Taken}, {3, 4, "a", Granted}}, false},
		"taken by one that is told later":        {[]step{{1, 4, "a", Granted}, {2, 3, "b", Taken}}, true},
		"released between":                       {[]step{{1, 2, "a", Granted}, {3, 4, "", Granted}, {5, 6, "b", Granted}}, true},
		"released too late":                      {[]step{{1, 2, "a", Granted}, {3, 4, "b", Granted}, {5, 6, "", Granted}}, false},
		"nobody knows, and it was done":          {[]step{{1, 0, "a", Unknown}, {3, 4, "b", Taken}}, true},
		"nobody knows, and it was not done":      {[]step{{1, 0, "a", Unknown}, {3, 4, "b", Granted}}, true},
		"nobody knows, and it was done only now": {[]step{{1, 0, "a", Unknown}, {2, 3, "b", Granted}, {4, 5, "", Granted}, {6, 7, "b", Taken}}, true},
		"nobody knows, and two others have it":   {[]step{{1, 0, "a", Unknown}, {2, 3, "b", Granted}, {4, 5, "c", Granted}}, false},
	} {
		var h History
		for i, s := range c.steps {
			answered := h.Claim(i, "name", s.identity)
			answered(s.outcome)
			op := &h.all[len(h.all)-1]
			op.Call = s.from
			if s.to != 0 {
				op.Return = s.to
			}
		}
		if err := h.Check(time.Minute); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names have nothing to do with one another, and what was asked is counted.
func TestNamesAreApart(t *testing.T) {
	var h History
	h.Claim(1, "one", "a")(Granted)
	h.Claim(1, "two", "b")(Granted)
	h.Claim(2, "one", "b")(Taken)
	h.Release(2, "one")(Granted)
	h.Claim(2, "one", "b")(Granted)
	if err := h.Check(time.Minute); err != nil {
		t.Error(err)
	}
	if n := h.Count(); n[Granted] != 4 || n[Taken] != 1 {
		t.Errorf("%v", n)
	}
}

// Many claims of which nobody knows whether they were done do not make the search long.
func TestManyUnknownClaimsAreSearched(t *testing.T) {
	var h History
	for i := range 500 {
		h.Claim(i, "name", string(rune('a'+i%20)))(Unknown)
	}
	h.Claim(1, "name", "b")(Granted)
	h.Claim(2, "name", "a")(Taken)
	if err := h.Check(time.Minute); err != nil {
		t.Error(err)
	}
	h.Claim(3, "name", "c")(Granted)
	if err := h.Check(time.Minute); err == nil {
		t.Error("two owners are not found")
	}
}
