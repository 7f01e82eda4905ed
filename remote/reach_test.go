package remote

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A told is how a candidate answers.
type told struct {
	after time.Duration
	fails bool
}

// The first that answers wins, but a preferred one has some more time.
func TestPrefer(t *testing.T) {
	const never = time.Hour
	for name, c := range map[string]struct {
		candidates []told
		wins       string // "" if all fail
		took       time.Duration
		discarded  int
	}{
		"alone":                          {[]told{{after: 5 * time.Second}}, "a", 5 * time.Second, 0},
		"alone, fails":                   {[]told{{time.Second, true}}, "", time.Second, 0},
		"preferred at once":              {[]told{{after: time.Millisecond}, {}}, "a", time.Millisecond, 0},
		"preferred fails":                {[]told{{fails: true}, {after: time.Millisecond}}, "b", time.Millisecond, 0},
		"preferred is silent":            {[]told{{after: never}, {}}, "b", stagger + preferTime, 0},
		"preferred is slower":            {[]told{{after: 2 * time.Second}, {}}, "a", 2 * time.Second, 1},
		"preferred fails late":           {[]told{{2 * time.Second, true}, {}}, "b", 2 * time.Second, 0},
		"two are silent":                 {[]told{{after: never}, {after: never}, {}}, "c", 2*stagger + preferTime, 0},
		"all fail":                       {[]told{{10 * time.Second, true}, {time.Second, true}, {fails: true}}, "", 10 * time.Second, 0},
		"better and better":              {[]told{{after: 4 * time.Second}, {after: 2 * time.Second}, {}}, "a", 4 * time.Second, 2},
		"the last is not needed":         {[]told{{fails: true}, {after: time.Millisecond}, {}}, "b", time.Millisecond, 0},
		"the time counts from an answer": {[]told{{after: never}, {after: 10 * time.Second}}, "b", stagger + 10*time.Second + preferTime, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := strings.Split("abc", "")[:len(c.candidates)]
				var running atomic.Int32
				discarded := 0
				began := time.Now()
				got, err := prefer(t.Context(), names, func(ctx context.Context, name string) (string, error) {
					running.Add(1)
					defer func() { running.Add(-1) }()
					a := c.candidates[slices.Index(names, name)]
					select {
					case <-time.After(a.after):
					case <-ctx.Done():
						return "", ctx.Err()
					}
					if a.fails {
						return "", errors.New(name + " fails")
					}
					return name, nil
				}, func(string) { discarded++ })
				if got != c.wins || (err == nil) != (c.wins != "") {
					t.Errorf("got %q, %v; want %q", got, err, c.wins)
				}
				if took := time.Since(began); took != c.took || discarded != c.discarded || running.Load() != 0 {
					t.Errorf("took %v, want %v; discarded %d, want %d; %d still run", took, c.took, discarded, c.discarded, running.Load())
				}
				if err != nil && strings.Count(err.Error(), "fails") != len(names) {
					t.Errorf("not all that failed: %v", err)
				}
			})
		})
	}
}

// When its time is over nothing goes on, and what has answered is not lost.
func TestPreferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := prefer(ctx, []string{"a", "b"}, func(ctx context.Context, _ string) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, func(int) { t.Error("discarded") })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if n, err := prefer(ctx, []string{"a"}, func(context.Context, string) (int, error) { return 7, nil }, nil); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
