package remote

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// Those who need a token at the same time ask together, and what is old is not
// used.
func TestLaneTokensAreAskedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newLaneTokens()
		var asked []int
		ask := func(ctx context.Context, n int) (list []framing.LaneToken, err error) {
			asked = append(asked, n)
			time.Sleep(time.Second)
			for range n {
				list = append(list, framing.NewLaneToken())
			}
			return list, nil
		}
		seen := make(chan framing.LaneToken, 10)
		get := func() {
			token, err := tokens.get(t.Context(), ask)
			if err != nil {
				t.Error(err)
			}
			seen <- token
		}
		for range 9 {
			go get()
			synctest.Wait()
		}
		different := map[framing.LaneToken]bool{}
		for range 9 {
			different[<-seen] = true
		}
		if !slices.Equal(asked, []int{1, 8}) || len(different) != 9 {
			t.Errorf("asked for %v, and got %d different tokens", asked, len(different))
		}
		tokens.stock = []framing.LaneToken{framing.NewLaneToken()}
		time.Sleep(framing.TokenTime)
		get()
		if len(asked) != 3 {
			t.Error("an old token was used")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		tokens.asking <- struct{}{}
		if _, err := tokens.get(short, ask); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
	})
}

// None is tried for a while after two failures in a row, and for longer after
// each further one.
func TestLanesRestAfterTwoFailures(t *testing.T) {
	var h laneHealth
	now := time.Now()
	if h.failed(now) != 0 || !h.allowed(now) {
		t.Error("one failure is no reason")
	}
	h.good()
	if h.failed(now) != 0 {
		t.Error("one that worked does not count")
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if rest := h.failed(now); rest != want {
			t.Errorf("rests %v, want %v", rest, want)
		}
		if h.failed(now.Add(want/2)) != 0 {
			t.Error("one that began before the rest makes it longer")
		}
		if h.allowed(now.Add(want-1)) || !h.allowed(now.Add(want)) {
			t.Errorf("does not rest for %v", want)
		}
		now = now.Add(want)
	}
	for range 100 {
		rest := h.failed(now)
		if rest > maxLaneRest {
			t.Fatalf("rests %v", rest)
		}
		now = now.Add(rest)
	}
}

// Visitors cannot make the device hold connections without a limit.
func TestLanesOfALinkAreLimited(t *testing.T) {
	for _, c := range []struct {
		lanes  int
		chatty bool
		want   bool
	}{{0, false, true}, {0, true, true}, {255, true, true}, {256, true, false}, {256, false, true}, {511, false, true}, {512, false, false}, {512, true, false}} {
		if got := roomFor(c.lanes, c.chatty); got != c.want {
			t.Errorf("with %d lanes, chatty %v: room %v", c.lanes, c.chatty, got)
		}
	}
}
