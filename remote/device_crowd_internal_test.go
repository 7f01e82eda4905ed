package remote

import (
	"testing"

	"keystay/framing"
)

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

// What one link's streams may make the device hold follows the memory: with all links
// that there may be to a relay that goes away for ever it is little more than the half.
func TestPoolOfLinksFollowsTheMemory(t *testing.T) {
	for _, memory := range []int64{64 << 20, 128 << 20, 512 << 20, 2 << 30, 64 << 30} {
		got := linkPool(memory)
		if got < framing.MinPool || got > framing.MaxPool {
			t.Errorf("with %d MiB: %d", memory>>20, got)
		}
		if all := int64(maxLeft+DefaultLinks) * int64(got); memory >= 128<<20 && all > memory*9/16 {
			t.Errorf("with %d MiB all links hold %d MiB", memory>>20, all>>20)
		}
	}
	if got := linkPool(64 << 30); got != framing.MaxPool {
		t.Errorf("with much memory: %d", got)
	}
}
