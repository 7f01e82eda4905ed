package framing_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
)

// excuseTime is how long a remote waits for LANE_RESET after a lane was lost.
const excuseTime = 3 * time.Second

// TestLaneOutcome has lanes end in all ways, and what is said of each.
func TestLaneOutcome(t *testing.T) {
	up := func(v, d *framing.Stream) { io.WriteString(v, "x"); io.ReadFull(d, make([]byte, 1)) }
	down := func(v, d *framing.Stream) { io.WriteString(d, "x"); io.ReadFull(v, make([]byte, 1)) }
	read := func(s *framing.Stream) { io.Copy(io.Discard, struct{ io.Reader }{s}) }
	closeBoth := func(v, d *framing.Stream) { v.Close(); read(d); d.Close() }
	both := func(v, d *framing.Stream) { up(v, d); down(v, d) }
	server, client := laneTLS(t)
	for _, c := range []struct {
		name   string
		do     func(r *laneRig, v, d *framing.Stream)
		worked bool
		failed bool
		after  time.Duration
	}{
		{"an end in good order", func(r *laneRig, v, d *framing.Stream) {
			both(v, d)
			v.CloseWrite()
			read(d)
			d.CloseWrite()
			read(v)
			v.Close()
			d.Close()
		}, true, false, 0},
		{"nothing went on it", func(r *laneRig, v, d *framing.Stream) { closeBoth(v, d) }, false, false, 0},
		{"bytes came only", func(r *laneRig, v, d *framing.Stream) { up(v, d); closeBoth(v, d) }, false, false, 0},
		{"bytes went only", func(r *laneRig, v, d *framing.Stream) { down(v, d); closeBoth(v, d) }, false, false, 0},
		{"reset by the visitor", func(r *laneRig, v, d *framing.Stream) { both(v, d); v.Reset(); read(d) }, true, false, 0},
		{"reset by the device", func(r *laneRig, v, d *framing.Stream) { both(v, d); d.Reset() }, true, false, 0},
		{"reset by the visitor, and seen by a write", func(r *laneRig, v, d *framing.Stream) {
			v.Reset()
			io.Copy(d, zeros{})
		}, false, false, 0},
		{"cut by the relay", func(r *laneRig, v, d *framing.Stream) { both(v, d); r.relay.CutLanes(); read(d) }, true, false, 0},
		{"the lane lost", func(r *laneRig, v, d *framing.Stream) { both(v, d); r.lose(); read(d) }, true, true, excuseTime},
		{"the lane lost before it worked", func(r *laneRig, v, d *framing.Stream) { r.lose(); read(d) }, false, true, excuseTime},
		{"the lane lost, and seen by a write", func(r *laneRig, v, d *framing.Stream) {
			both(v, d)
			r.lose()
			io.Copy(d, zeros{})
		}, true, true, excuseTime},
		{"the lane lost, and seen by a look", func(r *laneRig, v, d *framing.Stream) {
			r.lose()
			synctest.Wait()
			if d.Broken() != nil {
				d.Reset()
			}
		}, false, true, excuseTime},
		{"both ends see the lane lost", func(r *laneRig, v, d *framing.Stream) {
			r.lose()
			read(v)
			v.Reset()
			read(d)
		}, false, true, excuseTime},
		{"the link lost", func(r *laneRig, v, d *framing.Stream) {
			both(v, d)
			r.relay.Close()
			synctest.Wait()
			closeBoth(v, d)
		}, true, false, 0},
		{"the link lost, and the visitor reset", func(r *laneRig, v, d *framing.Stream) {
			both(v, d)
			r.relay.Close()
			synctest.Wait()
			v.Reset()
			read(d)
		}, true, false, 0},
		{"the link lost right after", func(r *laneRig, v, d *framing.Stream) {
			r.lose()
			read(d)
			time.AfterFunc(time.Second, func() { r.relay.Close() })
		}, false, false, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLaneRig(t, server, client)
				v, d := open(t, r.relay, r.remote, "")
				lane := r.move(t, d)
				c.do(r, v, d)
				start := time.Now()
				worked, err := lane.Outcome(t.Context())
				if worked != c.worked || (err != nil) != c.failed || time.Since(start) != c.after {
					t.Errorf("worked is %v, and the error %v, after %v", worked, err, time.Since(start))
				}
				v.Reset()
				d.Reset()
				settled(t, r.relay, r.remote)
			})
		})
	}
}

// Who asks for the outcome need not wait for it.
func TestLaneOutcomeLater(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "")
		lane := r.move(t, d)
		talk(t, v, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if worked, err := lane.Outcome(ctx); !worked || err != nil || time.Since(start) != time.Minute {
			t.Errorf("worked is %v, and the error %v, after %v", worked, err, time.Since(start))
		}
		v.Reset()
		d.Reset()
	})
}

// LANE_RESET goes another way than the reset of the lane that it explains.
func TestLaneResetComesWhenItDoes(t *testing.T) {
	server, client := laneTLS(t)
	for name, c := range map[string]struct {
		before, after time.Duration // of LANE_RESET, to the reset
		failed        bool
	}{
		"before":           {before: time.Second},
		"after":            {after: 2 * time.Second},
		"too late":         {after: excuseTime + time.Second, failed: true},
		"for another lane": {failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLaneRelay(t, server, client)
				if err := r.bind(t, func() { r.tls.Write(rec(boundRec)) }); err != nil {
					t.Fatal(err)
				}
				say := func(id int) { r.p.conn.Write(rec(laneReset, u32(id))) }
				r.p.send(frame(psh, byHand, rec(switchRec, u64(0))))
				switch {
				case c.before > 0:
					say(byHand)
					time.Sleep(c.before)
				case c.after > 0:
					time.AfterFunc(c.after, func() { say(byHand) })
				default:
					say(byHand + 2)
				}
				synctest.Wait()
				socket.Abort(r.below())
				r.device.Read(make([]byte, 1))
				if _, err := r.lane.Outcome(t.Context()); (err != nil) != c.failed {
					t.Errorf("the error is %v", err)
				}
				r.device.Reset()
			})
		})
	}
}
