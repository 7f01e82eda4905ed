package framing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
)

// Stream records that nobody may send on a stream that has a lane, after one
// byte of data.
var laneViolations = []violation{
	{"SWITCH at less", rec(switchRec, u64(0))},
	{"SWITCH at more", rec(switchRec, u64(2))},
	{"SWITCH at 2^63", rec(switchRec, u64(1<<63))},
	{"SWITCH at 2^63 and right below", rec(switchRec, u64(1<<63+1))},
	{"SWITCH at 2^64-1", rec(switchRec, u64(1<<64-1))},
	{"SWITCH short", rec(switchRec, make([]byte, 7))},
	{"SWITCH too long", rec(switchRec, u64(1), make([]byte, 57))},
	{"SWITCH twice", cat(rec(switchRec, u64(1)), rec(switchRec, u64(1)))},
	{"SWITCH after END", cat(rec(endRec), rec(switchRec, u64(1)))},
	{"SWITCH after RESET", cat(rec(resetRec, u16(0)), rec(switchRec, u64(1)))},
	{"END after SWITCH", cat(rec(switchRec, u64(1)), rec(endRec))},
	{"DATA after SWITCH", cat(rec(switchRec, u64(1)), rec(dataRec, []byte("y")))},
	{"HEADER after SWITCH", cat(rec(switchRec, u64(1)), goodHeader())},
}

var switchTooSoon = []violation{{"SWITCH without BIND", rec(switchRec, u64(1))}}

// Link records about lanes that nobody may send to a relay.
var laneViolationsByRemote = []violation{
	{"LANES_WANTED short", rec(lanesWanted)},
	{"LANES_WANTED too long", rec(lanesWanted, make([]byte, 65))},
	{"LANES_WANTED in a flood", bytes.Repeat(rec(lanesWanted, []byte{1}), 401)},
	{"LANE_TOKENS by the remote", rec(laneTokens, make([]byte, 32))},
	{"LANE_RESET by the remote", rec(laneReset, u32(3))},
}

// And those that nobody may send to a remote.
var laneViolationsByRelay = []violation{
	{"LANES_WANTED by the relay", rec(lanesWanted, []byte{1})},
	{"LANE_TOKENS unasked", rec(laneTokens, make([]byte, 32))},
	{"LANE_TOKENS unasked, none", rec(laneTokens)},
	{"LANE_RESET short", rec(laneReset, make([]byte, 3))},
	{"LANE_RESET too long", rec(laneReset, make([]byte, 65))},
	{"LANE_RESET of no lane", rec(laneReset, u32(3))},
}

// Answers to LANES_WANTED that break the protocol.
var tokenViolations = []violation{
	{"half a token", rec(laneTokens, make([]byte, 48))},
	{"too many tokens", rec(laneTokens, make([]byte, 17*32))},
	{"LANE_TOKENS twice", cat(rec(laneTokens, make([]byte, 32)), rec(laneTokens, make([]byte, 32)))},
	{"LANE_TOKENS twice, none", cat(rec(laneTokens), rec(laneTokens))},
}

func TestRelayEndsLinkOnLaneViolation(t *testing.T) {
	server, client := laneTLS(t)
	each(t, "link", laneViolationsByRemote, func(t testing.TB, bad []byte) {
		l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.remote(t)
		p.discard()
		p.conn.Write(bad)
		violated(t, l)
	})
	stream := func(bind bool) func(t testing.TB, bad []byte) {
		return func(t testing.TB, bad []byte) {
			l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.remote(t)
			s, err := l.Open(header, nil)
			if err != nil {
				t.Fatal(err)
			}
			id := p.nextSYN()
			p.discard()
			r := &laneRig{relay: l, server: server, client: client, served: make(chan error, 1)}
			c, token := r.attack(t)
			c.Write(rec(joinRec, token))
			if bind {
				c.Write(rec(bindRec, u32(int(id))))
				if err := <-r.served; err != nil {
					t.Fatal(err)
				}
			}
			up(t, l)
			p.conn.Write(frames(id, cat(rec(dataRec, []byte("x")), bad)))
			violated(t, l)
			s.Reset()
			c.NetConn().SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(io.Discard, c.NetConn()); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the lane lives on")
			}
		}
	}
	each(t, "stream", laneViolations, stream(true))
	each(t, "stream without a lane", switchTooSoon, stream(false))
}

func TestRemoteEndsLinkOnLaneViolation(t *testing.T) {
	server, client := laneTLS(t)
	each(t, "link", laneViolationsByRelay, func(t testing.TB, bad []byte) {
		l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.relay(t)
		p.discard()
		p.conn.Write(bad)
		violated(t, l)
	})
	each(t, "tokens", tokenViolations, func(t testing.TB, bad []byte) {
		l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.relay(t)
		asked := make(chan error, 1)
		go func() { _, err := l.WantLanes(t.Context(), 1); asked <- err }()
		p.expect(lanesWanted)
		p.discard()
		p.conn.Write(bad)
		violated(t, l)
		<-asked
	})
	stream := func(bind bool) func(t testing.TB, bad []byte) {
		return func(t testing.TB, bad []byte) {
			r := newLaneRelay(t, server, client)
			if bind {
				if err := r.bind(t, func() { r.tls.Write(rec(boundRec)) }); err != nil {
					t.Fatal(err)
				}
			}
			up(t, r.link)
			r.p.conn.Write(frames(byHand, cat(rec(dataRec, []byte("x")), bad)))
			violated(t, r.link)
			r.device.Reset()
			r.lane.Close()
			below := r.tls.NetConn()
			below.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(io.Discard, below); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the lane lives on")
			}
		}
	}
	each(t, "stream", laneViolations, stream(true))
	each(t, "stream without a lane", switchTooSoon, stream(false))
}

// What may come after SWITCH: credit, a reset, and what is optional.
func TestAllowedAfterSwitch(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		if err := r.bind(t, func() { r.tls.Write(rec(boundRec)) }); err != nil {
			t.Fatal(err)
		}
		r.p.send(frame(psh, byHand, rec(dataRec, []byte("x")), rec(switchRec, u64(1), []byte("more fields")),
			rec(creditRec, u32(1)), rec(0x80, []byte("x")), rec(resetRec, u16(0))))
		up(t, r.link)
		socket.Abort(r.below()) // as it belongs to the RESET
		broken(t, r.device)
	})
}

// A relay that never answers holds up nobody for ever.
func TestWantLanesUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.relay(t)
		for range 2 { // the second one waits for the first one's answer
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			if _, err := l.WantLanes(ctx, 1); !errors.Is(err, ctx.Err()) || err == nil {
				t.Errorf("unanswered: %v", err)
			}
			stop()
		}
		// An answer that nobody waits for any more is no violation, and not the
		// next one's.
		p.send(rec(laneTokens, make([]byte, 32)))
		type answer struct {
			tokens []framing.LaneToken
			err    error
		}
		got := make(chan answer, 1)
		ask := func() { tokens, err := l.WantLanes(t.Context(), 1); got <- answer{tokens, err} }
		go ask()
		synctest.Wait()
		p.send(rec(laneTokens, bytes.Repeat([]byte{1}, 32)))
		if a := <-got; a.err != nil || len(a.tokens) != 1 || a.tokens[0][0] != 1 {
			t.Errorf("after a late answer: %x, %v", a.tokens, a.err)
		}
		go ask()
		synctest.Wait()
		p.send(rec(laneTokens))
		if a := <-got; !errors.Is(a.err, framing.ErrNoLanes) {
			t.Errorf("no tokens: %v", a.err)
		}
		lost := make(chan error, 1)
		go func() { _, err := l.WantLanes(t.Context(), 1); lost <- err }()
		synctest.Wait()
		l.Close()
		if err := <-lost; !errors.Is(err, framing.ErrClosed) {
			t.Errorf("link lost: %v", err)
		}
	})
}

// A remote that asks for many lanes stays below what a relay takes.
func TestWantLanesOften(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		start := time.Now()
		for i := range 1000 {
			if _, err := r.remote.WantLanes(t.Context(), 1); err != nil {
				t.Fatalf("ask %d: %v", i, err)
			}
			if i == 30 && time.Since(start) != 0 {
				t.Errorf("the first %d took %v", i, time.Since(start))
			}
		}
		up(t, r.relay, r.remote)
	})
}

// A relay that goes away grants no lanes.
func TestWantLanesOfOneThatLeaves(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		if err := r.relay.GoAway(t.Context(), framing.GoAway{}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.remote.WantLanes(t.Context(), 1); !errors.Is(err, framing.ErrNoLanes) {
			t.Errorf("lanes to a relay that goes away: %v", err)
		}
	})
}

// As many visitors as there may be reset their connections at once: the remote
// is told of each lane, and that is no flood.
func TestManyLaneResets(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		var visitors []*framing.Stream
		for range 420 {
			v, d := open(t, r.relay, r.remote, "")
			r.move(t, d)
			visitors = append(visitors, v)
			defer d.Reset()
		}
		for _, v := range visitors {
			v.Reset()
		}
		up(t, r.relay, r.remote)
	})
}
