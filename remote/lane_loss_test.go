package remote

import (
	"testing"
	"time"
)

// A path is lossy for a while after packets were sent once more. A lane that
// ended takes its count with it, which is no loss.
func TestPathIsLossyForAWhile(t *testing.T) {
	var p pathLoss
	now := time.Now()
	for i, c := range []struct {
		later time.Duration
		count int
		want  bool
	}{
		{0, 0, false},
		{lossLook, 0, false},
		{lossLook - 1, 1, false}, // too soon to look
		{1, 1, true},
		{lossTime - 1, 1, true},
		{1, 1, false},
		{lossLook, 0, false},
		{lossLook, 1, true},
	} {
		now = now.Add(c.later)
		if got := p.lossy(now, func() int { return c.count }); got != c.want {
			t.Errorf("look %d: lossy is %v", i, got)
		}
	}
	now = now.Add(lossTime + 1)
	if p.lossy(now, func() int { return 2 }) {
		t.Error("a loss counts that may be old")
	}
	var first pathLoss
	if first.lossy(now, func() int { return 1 }) {
		t.Error("the first look counts what was lost before")
	}
}
