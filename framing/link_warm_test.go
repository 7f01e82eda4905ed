package framing_test

import (
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

const padding = 0x80

// warmed has a remote's link get PONG after a round trip of rtt and of what each byte
// takes, and returns how many bytes of PADDING it sent, in pieces between two PINGs.
func warmed(t *testing.T, minor byte, rtt, each time.Duration, handler framing.Handler) (pieces []int) {
	t.Helper()
	l, p := handMade{minor: minor, handler: handler}.relay(t)
	end := time.Now().Add(3 * framing.PingInterval)
	piece := 0
	for time.Now().Before(end) {
		switch kind, b := p.next(); kind {
		case padding:
			piece += 3 + len(b)
			time.Sleep(time.Duration(len(b)) * each)
		case ping:
			if piece > 0 {
				pieces = append(pieces, piece)
			}
			piece = 0
			time.Sleep(rtt)
			p.send(rec(pong, b))
		default:
			t.Fatalf("record 0x%02x", kind)
		}
	}
	if piece > 0 {
		t.Errorf("%d bytes without a PING behind them", piece)
	}
	p.discard()
	up(t, l)
	return pieces
}

// A link that is long and keeps its window is warmed once, in pieces that grow, until
// it is wide, full, or has had enough.
func TestLongLinkIsWarmed(t *testing.T) {
	const way = 40 * time.Millisecond
	yes := func() bool { return true }
	narrow := func() (int, bool) { return 14480, true }
	for _, c := range []struct {
		name    string
		minor   byte // of the relay
		rtt     time.Duration
		each    time.Duration // that a byte takes
		warm    func() bool
		window  func() (int, bool)
		total   int
		biggest int
	}{
		{"long", 3, way, 0, yes, narrow, framing.WarmBytes, 256 << 10},
		{"to an old relay", 2, way, 0, yes, narrow, 0, 0},
		{"short", 3, way / 8, 0, yes, narrow, 0, 0},
		{"whose window is lost when it is idle", 3, way, 0, yes, func() (int, bool) { return 14480, false }, 0, 0},
		{"not asked for", 3, way, 0, nil, narrow, 0, 0},
		{"not allowed", 3, way, 0, func() bool { return false }, narrow, 0, 0},
		{"wide already", 3, way, 0, yes, func() (int, bool) { return framing.WarmBytes, true }, 0, 0},
		{"wide soon", 3, way, 0, yes, growing(), 112 << 10, 64 << 10},
		{"slow", 3, way, 10 * time.Microsecond, yes, narrow, 16 << 10, 16 << 10}, // 0.8 Mbit/s
		{"not so slow", 3, way, time.Microsecond, yes, narrow, 240 << 10, 128 << 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			pieces := warmed(t, c.minor, c.rtt, c.each, framing.WithWindow(framing.Handler{Warm: c.warm}, c.window))
			total, biggest := 0, 0
			for i, n := range pieces {
				total += n
				biggest = max(biggest, n)
				if i == 0 && n != 16<<10 {
					t.Errorf("%s: the first piece has %d bytes", c.name, n)
				}
			}
			if total != c.total || biggest != c.biggest {
				t.Errorf("%s: %d bytes of PADDING, %d at once; want %d and %d", c.name, total, biggest, c.total, c.biggest)
			}
		})
	}
}

// growing is a window that doubles each time that it is looked at.
func growing() func() (int, bool) {
	n := 14480 * 2
	return func() (int, bool) { n *= 2; return n, true }
}

// All that a link may get of PADDING is no flood to its relay, beside names that are
// claimed and lanes that are wanted.
func TestPaddingIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{minor: 3}.remote(t)
		p.discard()
		for range framing.WarmBytes >> 12 {
			p.send(rec(padding, make([]byte, 4093)))
		}
		for range 100 {
			p.send(rec(ping, make([]byte, 8)))
		}
		up(t, l)
	})
}
