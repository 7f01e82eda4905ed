package remote

import "testing"

// How many visitors there may be follows the memory, unless the owner says a number.
func TestMaxVisitorsFollowsTheMemory(t *testing.T) {
	for _, c := range []struct {
		configured int
		memory     int64
		want       int
	}{
		{0, 64 << 30, DefaultMaxVisitors},
		{0, 2 << 30, DefaultMaxVisitors},
		{0, 512 << 20, 1024},
		{0, 64 << 20, 128},
		{0, 0, 1},
		{10_000, 64 << 20, 10_000},
	} {
		if got := maxVisitors(c.configured, c.memory); got != c.want {
			t.Errorf("maxVisitors(%d, %d) is %d, want %d", c.configured, c.memory, got, c.want)
		}
	}
}
