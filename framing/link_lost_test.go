package framing_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// manyNames returns a relay's link and its remote's, which has claimed so many names and
// counts those that are lost.
func manyNames(t *testing.T, many int) (relay, remote *framing.Link, names []string, lost *int) {
	t.Helper()
	a, b := pipe()
	lost = new(int)
	relay, remote = links(t, a, b, framing.Handler{Claim: grantAll}, framing.Handler{Lost: func(*framing.Denial) { *lost++ }})
	for i := range many {
		name := fmt.Sprintf("n%04d.relay.test", i)
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: name}); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return relay, remote, names, lost
}

// takenOver is what a relay says of a name that a newer run has.
func takenOver(name string) framing.Denial {
	return framing.Denial{Name: name, Code: framing.DeniedReplaced, Text: "a newer run of this device has taken the name over"}
}

// A remote that loses all its names, to another run or because its relay takes them back,
// keeps its link and with it its visitors: each LOST is what the relay has to tell.
func TestManyNamesThatAreLostEndNoLink(t *testing.T) {
	for what, pause := range map[string]time.Duration{"one after the other": 5 * time.Millisecond, "all at once": 0} {
		for _, many := range []int{390, 500, framing.MaxNames} {
			t.Run(fmt.Sprint(what, ", ", many), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					relay, remote, names, lost := manyNames(t, many)
					for _, name := range names {
						relay.Revoke(takenOver(name))
						time.Sleep(pause)
					}
					synctest.Wait()
					if *lost != many {
						t.Errorf("the remote was told of %d of %d", *lost, many)
					}
					up(t, relay, remote)
				})
			})
		}
	}
}

// So does one whose line takes nothing for a moment: what there is to say of its names
// waits, though it is more than may wait of what anybody else makes the relay say.
func TestNamesThatAreLostWaitForTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, names, lost := manyNames(t, framing.MaxNames)
		framing.HoldLink(relay)
		for _, name := range names {
			d := takenOver(name)
			d.Hint = strings.Repeat("x", 300)
			relay.Revoke(d)
		}
		framing.ReleaseLink(relay)
		synctest.Wait()
		if *lost != len(names) {
			t.Errorf("the remote was told of %d of %d: %v", *lost, len(names), relay.Err())
		}
		up(t, relay, remote)
	})
}

// So does one whose relay has much to say of each: a text is cut, and a hint is told whole or
// not at all.
func TestNamesAreLostWithALongReason(t *testing.T) {
	const much, long, room = 1024, 700, 896 - 3 - (1 + 253) - 2 - 2 - 2 - 4
	for what, why := range map[string]struct{ text, hint, wantText, wantHint int }{
		"text":          {much, 0, room, 0},
		"hint":          {0, much, 0, 0},
		"both":          {much, much, room / 2, 0},
		"a short hint":  {much, 100, room - 100, 100},
		"a short text":  {100, long, 100, 0},
		"none too much": {500, 100, 500, 100},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe()
				lost := 0
				relay, remote := links(t, a, b, framing.Handler{Claim: grantAll}, framing.Handler{Lost: func(d *framing.Denial) {
					lost++
					if len(d.Text) != why.wantText || len(d.Hint) != why.wantHint || strings.HasSuffix(d.Text, "...") != (why.text > why.wantText) {
						t.Errorf("told %d bytes, %.300q, and %d", len(d.Text), d.Text, len(d.Hint))
					}
				}})
				var names []string
				label := strings.Repeat("x", 62) + "."
				for i := range framing.MaxNames { // the longest that there are
					names = append(names, fmt.Sprintf("%s%s%sn%04d%s.relay.test", label, label, label, i, strings.Repeat("x", 253-3*63-5-11)))
					if _, err := remote.Claim(t.Context(), framing.Claim{Name: names[i]}); err != nil {
						t.Fatal(err)
					}
				}
				framing.HoldLink(relay)
				for _, name := range names {
					relay.Revoke(framing.Denial{Name: name, Code: framing.DeniedBanned, Text: strings.Repeat("t", why.text), Hint: strings.Repeat("h", why.hint)})
				}
				framing.ReleaseLink(relay)
				synctest.Wait()
				if lost != len(names) {
					t.Errorf("the remote was told of %d of %d: %v", lost, len(names), relay.Err())
				}
				up(t, relay, remote)
			})
		})
	}
}

// A LOST that takes nothing back is paid for by no claim: many are a flood.
func TestFloodOfNamesThatAreNotHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, names, lost := manyNames(t, 10)
		for range 50 {
			for _, name := range names {
				relay.Revoke(takenOver(name))
			}
		}
		violated(t, remote)
		if err := remote.Err(); !strings.Contains(err.Error(), "flood") || *lost != len(names) {
			t.Errorf("%d names are lost, and the link ended with %v", *lost, err)
		}
	})
}
