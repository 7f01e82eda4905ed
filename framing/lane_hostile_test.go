package framing_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// attack returns the remote's end of a lane's TLS connection, for a remote by
// hand, and a token that is good once. What ServeLane returns goes to r.served.
func (r *laneRig) attack(t testing.TB) (*tls.Conn, []byte) {
	t.Helper()
	relay, remote := r.dial(t)
	token := framing.NewLaneToken()
	used := false
	go func() {
		r.served <- framing.ServeLane(relay, func(got framing.LaneToken) *framing.Link {
			if used || !got.Equal(&token) {
				return nil
			}
			used = true
			return r.relay
		}, nil, nil)
	}()
	return remote, token[:]
}

// talk checks that a stream and its link still work.
func talk(t testing.TB, v, d *framing.Stream) {
	t.Helper()
	for _, s := range [][2]*framing.Stream{{v, d}, {d, v}} {
		io.WriteString(s[0], "still here")
		b := make([]byte, 10)
		s[1].SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(s[1], b); err != nil || string(b) != "still here" {
			t.Errorf("the stream does not work any more: %q, %v", b, err)
		}
	}
}

// A remote may do anything on a lane: the lane is closed, at once or after a
// time, and all else goes on.
func TestHostileLane(t *testing.T) {
	type attack struct {
		name  string
		after time.Duration // until the lane is closed
		do    func(c *tls.Conn, token []byte)
	}
	join := func(c *tls.Conn, token []byte) { c.Write(rec(joinRec, token)) }
	bind := func(id int) func(*tls.Conn, []byte) {
		return func(c *tls.Conn, token []byte) { c.Write(cat(rec(joinRec, token), rec(bindRec, u32(id)))) }
	}
	after := func(b []byte) func(*tls.Conn, []byte) {
		return func(c *tls.Conn, token []byte) { c.Write(cat(rec(joinRec, token), b)) }
	}
	attacks := []attack{
		{"no JOIN", framing.TokenTime, func(*tls.Conn, []byte) {}},
		{"half a JOIN", framing.TokenTime, func(c *tls.Conn, token []byte) { c.Write(rec(joinRec, token)[:20]) }},
		{"half a header", framing.TokenTime, func(c *tls.Conn, token []byte) { c.Write([]byte{joinRec, 0}) }},
		{"half a token", 0, func(c *tls.Conn, token []byte) { c.Write(rec(joinRec, token[:16])) }},
		{"wrong token", 0, func(c *tls.Conn, token []byte) { c.Write(rec(joinRec, token[:31], []byte{token[31] ^ 1})) }},
		{"no token", 0, func(c *tls.Conn, token []byte) { c.Write(rec(joinRec)) }},
		{"JOIN too long", 0, func(c *tls.Conn, token []byte) { c.Write(rec(joinRec, token, make([]byte, 33))) }},
		{"BIND first", 0, func(c *tls.Conn, token []byte) { c.Write(rec(bindRec, u32(3))) }},
		{"a link record", 0, func(c *tls.Conn, token []byte) { c.Write(helloRecord()) }},
		{"garbage in TLS", 0, func(c *tls.Conn, token []byte) { c.NetConn().Write(randomBytes(100)) }},
		{"garbage after JOIN", 0, func(c *tls.Conn, token []byte) { join(c, token); c.NetConn().Write(randomBytes(100)) }},
		{"JOIN and nothing", framing.SpareLaneTime, join},
		{"JOIN and half a BIND", framing.SpareLaneTime, after(rec(bindRec, u32(3))[:5])},
		{"JOIN twice", 0, func(c *tls.Conn, token []byte) { join(c, token); join(c, token) }},
		{"JOIN and the end", 0, func(c *tls.Conn, token []byte) { join(c, token); c.Close() }},
		{"JOIN and the end of TCP", 0, func(c *tls.Conn, token []byte) {
			join(c, token)
			c.NetConn().(*framing.TLSRecordConn).Conn.(*memconn.Conn).CloseWrite()
		}},
		{"BIND short", 0, after(rec(bindRec, []byte{0, 0, 3}))},
		{"BIND too long", 0, after(rec(bindRec, make([]byte, 65)))},
		{"BOUND by the remote", 0, after(rec(boundRec))},
		{"BIND of an unknown stream", 0, bind(77)},
		{"BIND of no stream", 0, bind(0)},
		{"BIND of one that has ended", 0, bind(3)},
		{"BIND of one that was reset", 0, bind(5)},
		{"BIND of one that has a lane", 0, bind(7)},
	}
	server, client := laneTLS(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLaneRig(t, server, client)
				gone, goneToo := open(t, r.relay, r.remote, "") // stream 3
				gone.Close()
				goneToo.Close()
				reset, _ := open(t, r.relay, r.remote, "") // 5
				reset.Reset()
				onLane, onLaneToo := open(t, r.relay, r.remote, "") // 7
				r.move(t, onLaneToo)
				v, d := open(t, r.relay, r.remote, "")
				synctest.Wait()
				c, token := r.attack(t)
				start := time.Now()
				a.do(c, token)
				var err error
				select {
				case err = <-r.served:
				case <-time.After(2 * time.Minute):
					t.Fatal("the lane is still served")
				}
				if took := time.Since(start); err == nil || took != a.after {
					t.Errorf("ServeLane returned %v after %v", err, took)
				}
				c.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the lane is not closed: %v", err)
				}
				up(t, r.relay, r.remote)
				talk(t, v, d)
				talk(t, onLane, onLaneToo)
				if tokens, err := r.remote.WantLanes(t.Context(), framing.MaxSpareLanes); len(tokens) != framing.MaxSpareLanes {
					t.Errorf("%d tokens, %v: the lane still counts", len(tokens), err)
				}
				onLane.Reset()
				onLaneToo.Reset()
			})
		})
	}
}

// A stream whose id is not known yet has none that a lane could name.
func TestBindOfStreamThatOpens(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(8) // START_MUX fits in, and the rest waits to be read
		go b.Write(helloWith(0, framing.CapabilityLanes))
		l, _, err := framing.Server(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		go io.ReadFull(b, make([]byte, len(welcomeRecord())-len("by hand")))
		if err := l.Welcome(framing.Welcome{Capabilities: framing.CapabilityLanes}, framing.Handler{}); err != nil {
			t.Fatal(err)
		}
		go l.Open(header, nil)
		synctest.Wait()
		if l.NumStreams() != 1 {
			t.Fatal("no stream is being opened: this test is void")
		}
		r := &laneRig{relay: l, server: server, client: client, served: make(chan error, 1)}
		c, token := r.attack(t)
		c.Write(cat(rec(joinRec, token), rec(bindRec, u32(0))))
		if err := <-r.served; !errors.Is(err, framing.ErrStreamOver) {
			t.Errorf("a lane for a stream that has no id yet: %v", err)
		}
		l.Close()
		b.Close()
	})
}

// A lane that waits goes with its link.
func TestSpareLaneGoesWithLink(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		c, token := r.attack(t)
		c.Write(rec(joinRec, token))
		synctest.Wait()
		r.remote.Close()
		start := time.Now()
		if err := <-r.served; err == nil || time.Since(start) != 0 {
			t.Errorf("ServeLane returned %v after %v", err, time.Since(start))
		}
		c, token = r.attack(t)
		c.Write(rec(joinRec, token))
		if err := <-r.served; err == nil {
			t.Error("a lane has joined a link that is lost")
		}
	})
}

// Of two lanes for one stream, one gets it.
func TestTwoLanesForOneStream(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.remote(t)
		r := &laneRig{relay: l, server: server, client: client, served: make(chan error, 2)}
		v, err := l.Open(header, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		p.discard()
		for range 2 {
			c, token := r.attack(t)
			c.Write(rec(joinRec, token))
			go c.Write(rec(bindRec, u32(int(id))))
		}
		one, other := <-r.served, <-r.served
		if one != nil {
			one, other = other, one
		}
		if one != nil || !errors.Is(other, framing.ErrStreamOver) {
			t.Errorf("two lanes: %v and %v", one, other)
		}
		up(t, l)
		v.Reset()
	})
}

// Lanes that have joined and wait are bounded, and so are the tokens for more.
func TestMaxSpareLanes(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		var lanes []*tls.Conn
		for i := range framing.MaxSpareLanes {
			tokens, err := r.remote.WantLanes(t.Context(), 255)
			if want := framing.MaxSpareLanes - i; len(tokens) != want || err != nil {
				t.Fatalf("with %d lanes that wait: %d tokens, %v", i, len(tokens), err)
			}
			c, token := r.attack(t)
			c.Write(rec(joinRec, token))
			lanes = append(lanes, c)
			synctest.Wait()
		}
		if _, err := r.remote.WantLanes(t.Context(), 1); !errors.Is(err, framing.ErrNoLanes) {
			t.Errorf("one more: %v", err)
		}
		c, token := r.attack(t)
		c.Write(rec(joinRec, token))
		if err := <-r.served; err == nil {
			t.Error("one more lane has joined")
		}
		lanes[0].Close()
		<-r.served
		if tokens, err := r.remote.WantLanes(t.Context(), 2); len(tokens) != 1 || err != nil {
			t.Errorf("after one has gone: %d tokens, %v", len(tokens), err)
		}
	})
}

// A laneRelay is a relay by hand: its link, with a stream on it, and the
// relay's end of a lane that has joined.
type laneRelay struct {
	p      *peer
	link   *framing.Link
	device *framing.Stream
	lane   *framing.Lane
	tls    *tls.Conn
}

const byHand = 3 // the stream's id

func newLaneRelay(t testing.TB, server, client *tls.Config) *laneRelay {
	t.Helper()
	l, p := handMade{handler: framing.Handler{}, capabilities: framing.CapabilityLanes}.relay(t)
	p.send(rec(startMux, []byte{2}), frame(syn, byHand), frame(psh, byHand, goodHeader()))
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.discard()
	r := &laneRig{server: server, client: client}
	relay, remote := r.dial(t)
	token := framing.NewLaneToken()
	lane, err := l.JoinLane(remote, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lane.Close() })
	got := make([]byte, 3+len(token))
	if _, err := io.ReadFull(relay, got); err != nil || string(got) != string(rec(joinRec, token[:])) {
		t.Fatalf("JOIN is %x, %v", got, err)
	}
	return &laneRelay{p, l, d, lane, relay}
}

// bind takes BIND and then does something, and returns what Bind does.
func (r *laneRelay) bind(t testing.TB, then func()) error {
	t.Helper()
	bound := make(chan error, 1)
	go func() { bound <- r.lane.Bind(t.Context(), r.device) }()
	got := make([]byte, 7)
	if _, err := io.ReadFull(r.tls, got); err != nil || string(got) != string(rec(bindRec, u32(byHand))) {
		t.Errorf("BIND is %x, %v", got, err)
	}
	then()
	return <-bound
}

// A relay that answers BIND with anything but BOUND loses the lane, and nothing
// else.
func TestHostileBound(t *testing.T) {
	server, client := laneTLS(t)
	for name, answer := range map[string][]byte{
		"BOUND too long": rec(boundRec, []byte("x")),
		"JOIN":           rec(joinRec, make([]byte, 32)),
		"BIND":           rec(bindRec, u32(byHand)),
		"unknown type":   rec(0x7f),
		"optional type":  rec(0x80),
		"PING":           rec(ping, make([]byte, 8)),
		"garbage in TLS": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLaneRelay(t, server, client)
				start := time.Now()
				err := r.bind(t, func() {
					if answer == nil {
						r.tls.NetConn().Write(randomBytes(100))
						return
					}
					r.tls.Write(answer)
				})
				if err == nil || time.Since(start) != 0 {
					t.Errorf("Bind returned %v after %v", err, time.Since(start))
				}
				r.stays(t)
			})
		})
	}
}

// stays checks that the stream is where it was, and the lane closed.
func (r *laneRelay) stays(t testing.TB) {
	t.Helper()
	below := r.tls.NetConn().(*framing.TLSRecordConn).Conn
	below.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.Copy(io.Discard, below); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the lane is not closed")
	}
	r.p.send(frame(psh, byHand, rec(dataRec, []byte("still here"))))
	b := make([]byte, 10)
	r.device.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.ReadFull(r.device, b); err != nil || string(b) != "still here" {
		t.Errorf("the stream does not work any more: %q, %v", b, err)
	}
	if _, err := r.device.Write(b); err != nil {
		t.Error(err)
	}
	up(t, r.link)
}

// BIND is not answered for ever, and not longer than its caller wants.
func TestBindTimeout(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		start := time.Now()
		if err := r.bind(t, func() {}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.stays(t)

		r = newLaneRelay(t, server, client)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := r.lane.Bind(ctx, r.device); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// BOUND before BIND is no answer to it.
func TestBoundWithoutBind(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		r.tls.Write(rec(boundRec))
		<-r.lane.Lost()
		if err := r.lane.Bind(t.Context(), r.device); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("Bind: %v", err)
		}
		r.stays(t)
	})
}

// What follows BOUND is the stream's, whatever it looks like.
func TestBoundTwice(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		if err := r.bind(t, func() { r.tls.Write(rec(boundRec)); r.tls.Write(rec(boundRec)) }); err != nil {
			t.Fatal(err)
		}
		r.p.send(frame(psh, byHand, rec(switchRec, u64(0))))
		b := make([]byte, 5)
		if _, err := io.ReadFull(r.device, b); err != nil || b[0] != 23 {
			t.Errorf("read %x, %v, want a record of TLS", b, err)
		}
		up(t, r.link)
		r.device.Reset()
	})
}

// A lane takes no stream of another link: the ids of two links are the same, so
// that would be another visitor's.
func TestBindStreamOfAnotherLink(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		other := newLaneRelay(t, server, client)
		if err := r.lane.Bind(t.Context(), other.device); err == nil {
			t.Error("bound")
		}
		r.stays(t)
		other.lane.Close()
		other.stays(t)
	})
}

// TLS that runs on the plain connection cannot be left.
func TestLaneOnPlainConn(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "")
		r.plain = true
		lane := r.lane(t)
		if err := lane.Bind(t.Context(), d); err == nil || !errors.Is(err, framing.ErrNotBare) {
			t.Errorf("Bind: %v", err)
		}
		if err := <-r.served; err == nil {
			t.Error("ServeLane has no error")
		}
		c, token := r.attack(t) // and at the relay alone
		c.Write(cat(rec(joinRec, token), rec(bindRec, u32(3))))
		if err := <-r.served; !errors.Is(err, framing.ErrNotBare) {
			t.Errorf("ServeLane: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the lane is not closed")
		}
		talk(t, v, d)
		r.plain = false
		r.move(t, d)
		talk(t, v, d)
		v.Reset()
		d.Reset()
	})
}
