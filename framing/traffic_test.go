package framing_test

import (
	"io"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// Bytes are counted by direction and by what carries them, each once, on the stream and
// behind it on a lane.
func TestTrafficIsCountedByCarrier(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		var traffic framing.Traffic
		r := newBulkRig(t, server, client, framing.Handler{Traffic: &traffic})
		v, d := open(t, r.relay, r.remote, "")
		pass := func(from, to *framing.Stream, n int) {
			t.Helper()
			go from.Write(make([]byte, n))
			if _, err := io.ReadFull(to, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		is := func() [4]int64 {
			return [4]int64{traffic.StreamIn.Load(), traffic.StreamOut.Load(), traffic.LaneIn.Load(), traffic.LaneOut.Load()}
		}
		before := is() // the header's first bytes
		pass(v, d, 1000)
		pass(d, v, 20000)
		if want := [4]int64{before[0] + 1000, before[1] + 20000, 0, 0}; is() != want {
			t.Fatalf("on the stream %v, want %v", is(), want)
		}
		r.move(t, d)
		onStream := is()
		pass(v, d, 300)
		pass(d, v, 4000)
		if want := [4]int64{onStream[0], onStream[1], 300, 4000}; is() != want {
			t.Fatalf("on the lane %v, want %v", is(), want)
		}
		v.Reset()
		d.Reset()
		settled(t, r.relay, r.remote)
	})
}
