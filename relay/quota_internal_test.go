package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

// A quota lets so many lines through in its time, and the next one says how many
// were left out.
func TestQuotaSaysHowManyWereLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quota
		for i := range 5 {
			if _, ok := q.take(2, time.Minute); ok != (i < 2) {
				t.Errorf("line %d: %v", i, ok)
			}
		}
		time.Sleep(time.Minute)
		if left, ok := q.take(2, time.Minute); !ok || left.Value.Int64() != 3 {
			t.Errorf("a minute later: %v, %v", left, ok)
		}
		if left, ok := q.take(2, time.Minute); !ok || left.Key != "" {
			t.Errorf("and then: %v, %v", left, ok)
		}
	})
}
