package framing_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// transfer sends 1 MB over a stream and returns how long that took, from the
// first byte to the last that was read.
func transfer(t *testing.T, from, to *framing.Stream) time.Duration {
	t.Helper()
	const size = 1_000_000
	go from.Write(make([]byte, size))
	start := time.Now()
	if _, err := io.CopyN(io.Discard, to, size); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// page makes a stream that has carried a small page and is quiet.
func page(t *testing.T, relay, remote *framing.Link) (visitor, device *framing.Stream) {
	t.Helper()
	v, d := open(t, relay, remote, "")
	request(t, v, d)
	go d.Write(make([]byte, 20_000))
	if _, err := io.CopyN(io.Discard, v, 20_000); err != nil {
		t.Fatal(err)
	}
	return v, d
}

// Visitors that are quiet do not make the others slow: what they were granted and do
// not use may not come back, so they are not granted much.
func TestQuietVisitorsTakeLittle(t *testing.T) {
	const way = 20 * time.Millisecond
	for _, c := range []struct {
		name     string
		quiet    int
		down, up time.Duration // the longest
	}{
		{"alone", 0, way, 5 * way},
		{"1 other", 1, 3 * way, 5 * way},
		{"6 others", 6, 3 * way, 5 * way},
		{"100 others", 100, 5 * way, 5 * way},
		{"300 others", 300, 9 * way, 5 * way},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, _ := slowLinks(t, way)
				for range c.quiet {
					page(t, relay, remote)
				}
				v, d := open(t, relay, remote, "x")
				down := transfer(t, d, v)
				v, d = open(t, relay, remote, "x")
				up := transfer(t, v, d)
				t.Logf("1 MB down in %v, up in %v; %d KiB of the pools are taken", down, up, (framing.PoolUsed(relay)+framing.PoolUsed(remote))>>10)
				if down > c.down+time.Millisecond || up > c.up+time.Millisecond {
					t.Errorf("down in %v, want %v; up in %v, want %v", down, c.down, up, c.up)
				}
			})
		})
	}
}
