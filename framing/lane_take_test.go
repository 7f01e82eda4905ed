package framing_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/socket"
)

// A takeRig is a visitor that has come to one node, A, and whose remote has its link at
// another, B.
type takeRig struct {
	*laneRig
	offer   framing.LaneOffer
	visitor *memconn.Conn   // its own end
	detour  *framing.Detour // at A
	hop     *memconn.Conn   // at A
	hopB    *memconn.Conn   // at B
	device  *framing.Stream
}

// newTakeRig has a visitor come, and say first.
func newTakeRig(t testing.TB, server, client *tls.Config, first string) *takeRig {
	t.Helper()
	r := &takeRig{laneRig: newLaneRig(t, server, client), offer: framing.LaneOffer{Node: "a", Token: framing.NewLaneToken()}}
	near, far := memconn.Pipe(0)
	hopA, hopB := memconn.Pipe(0)
	r.visitor, r.hop, r.hopB, r.detour = near, hopA, hopB, framing.NewDetour(hopA, len(first))
	h := header
	h.Lane = r.offer
	b, err := r.relay.Open(h, []byte(first))
	if err != nil {
		t.Fatal(err)
	}
	if r.device, err = r.remote.Accept(); err != nil {
		t.Fatal(err)
	}
	go duplex.Copy(hopB, b, duplex.Options{})
	go duplex.Copy(far, r.detour, duplex.Options{})
	return r
}

// take takes the visitor.
func (r *takeRig) take(t testing.TB) (*framing.Lane, error) {
	t.Helper()
	relay, remote := r.dial(t)
	used := false
	go func() {
		r.served <- framing.ServeLane(relay, func(framing.LaneToken) *framing.Link { return nil }, func(got framing.LaneToken) *framing.Detour {
			if used || !got.Equal(&r.offer.Token) {
				return nil
			}
			used = true
			return r.detour
		}, nil)
	}()
	lane, err := r.device.Take(t.Context(), remote)
	synctest.Wait()
	return lane, err
}

func (r *takeRig) mustTake(t testing.TB) *framing.Lane {
	t.Helper()
	lane, err := r.take(t)
	if err != nil {
		t.Fatal(err)
	}
	return lane
}

// over checks that nothing is left once both ends are closed.
func (r *takeRig) over(t testing.TB) {
	t.Helper()
	r.visitor.Reset()
	r.device.Reset()
	settled(t, r.relay, r.remote)
}

// says writes text at one end and reads it at the other.
func says(t testing.TB, from io.Writer, to io.Reader, text string) {
	t.Helper()
	go io.WriteString(from, text)
	b := make([]byte, len(text))
	if _, err := io.ReadFull(to, b); err != nil || string(b) != text {
		t.Fatalf("read %q and %v, want %q", b, err, text)
	}
}

// A visitor that was taken goes on without the hop, the link and the other node, and
// not one byte is lost, or comes twice.
func TestTakenVisitorNeedsNoHop(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRig(t, server, client, "hello")
		io.WriteString(r.visitor, ", over the hop")
		io.WriteString(r.device, "on the stream")
		r.mustTake(t)
		io.WriteString(r.visitor, ", on the lane")
		io.WriteString(r.device, ", on the lane")
		synctest.Wait()
		if !r.detour.Taken() {
			t.Error("the visitor is not taken")
		}
		if n := r.relay.NumStreams(); n != 0 {
			t.Errorf("%d streams are left at the node with the link", n)
		}
		if n := r.remote.NumLanes(); n != 1 {
			t.Errorf("the remote has %d lanes", n)
		}
		if _, err := r.hop.Write([]byte("x")); err == nil {
			t.Error("the hop is still there")
		}
		r.relay.Close()
		<-r.remote.Done()
		synctest.Wait()
		io.WriteString(r.visitor, " without a link")
		io.WriteString(r.device, " without a link")
		r.visitor.CloseWrite()
		r.device.CloseWrite()
		want(t, r.device, "hello, over the hop, on the lane without a link")
		want(t, r.visitor, "on the stream, on the lane without a link")
		r.device.Close()
		synctest.Wait()
		if err := <-r.served; err != nil {
			t.Error(err)
		}
		r.over(t)
	})
}

// How the two ends of a visitor's way may be: it goes on, has ended, or is broken.
const (
	goesOn = "goes on"
	ended  = "ended"
	broke  = "broken"
)

// state reads all that comes within a second, and says how that ends.
func state(c interface {
	io.Reader
	SetReadDeadline(time.Time) error
}) string {
	c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := io.Copy(io.Discard, struct{ io.Reader }{c})
	switch {
	case err == nil:
		return ended
	case errors.Is(err, os.ErrDeadlineExceeded):
		return goesOn
	}
	return broke
}

// Whatever happens in whatever state of a move past a hop, no end that is none is seen,
// as in the table of PROTOCOL.md.
func TestTakeStates(t *testing.T) {
	server, client := laneTLS(t)
	bulk := make([]byte, 4<<20)
	states := map[string]func(t *testing.T, r *takeRig){
		"both moved":                     func(t *testing.T, r *takeRig) { r.mustTake(t) },
		"device ended, the other moved":  func(t *testing.T, r *takeRig) { r.device.CloseWrite(); r.mustTake(t) },
		"visitor ended, the other moved": func(t *testing.T, r *takeRig) { r.visitor.CloseWrite(); synctest.Wait(); r.mustTake(t) },
		"device waits":                   func(t *testing.T, r *takeRig) { go r.device.Write(bulk); synctest.Wait(); r.mustTake(t) },
		"visitor waits":                  func(t *testing.T, r *takeRig) { go r.visitor.Write(bulk); synctest.Wait(); r.mustTake(t) },
		"both wait": func(t *testing.T, r *takeRig) {
			go r.visitor.Write(bulk)
			go r.device.Write(bulk)
			synctest.Wait()
			r.mustTake(t)
		},
		"not taken": func(t *testing.T, r *takeRig) {},
	}
	moved := map[string]bool{"both moved": true, "device ended, the other moved": true, "visitor ended, the other moved": true}
	events := map[string]struct {
		do   func(r *takeRig)
		want func(state string) (visitor, device string)
	}{
		"nothing":              {func(r *takeRig) {}, func(string) (_, _ string) { return goesOn, goesOn }},
		"end":                  {func(r *takeRig) { r.visitor.CloseWrite(); r.device.CloseWrite() }, func(string) (_, _ string) { return ended, ended }},
		"reset by the visitor": {func(r *takeRig) { r.visitor.Reset() }, func(string) (_, _ string) { return broke, broke }},
		"reset by the device":  {func(r *takeRig) { r.device.Reset() }, func(string) (_, _ string) { return broke, broke }},
		"cut at the node":      {func(r *takeRig) { r.detour.Reset() }, func(string) (_, _ string) { return broke, broke }},
		"link lost": {func(r *takeRig) { r.relay.Close() }, func(s string) (_, _ string) {
			if moved[s] {
				return goesOn, goesOn
			}
			return broke, broke
		}},
		"hop lost": {func(r *takeRig) { socket.Abort(r.hopB) }, func(s string) (_, _ string) {
			if moved[s] {
				return goesOn, goesOn
			}
			return broke, broke
		}},
		"lane lost": {func(r *takeRig) {
			if r.lose != nil {
				r.lose()
			}
		}, func(s string) (_, _ string) {
			if s == "not taken" {
				return goesOn, goesOn
			}
			return broke, broke
		}},
		"drain": {func(r *takeRig) {
			r.relay.GoAway(context.Background(), framing.GoAway{})
			r.remote.GoAway(context.Background(), framing.GoAway{})
		}, func(string) (_, _ string) { return goesOn, goesOn }},
	}
	for name, enter := range states {
		for event, e := range events {
			t.Run(name+"/"+event, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newTakeRig(t, server, client, "hello")
					enter(t, r)
					e.do(r)
					synctest.Wait()
					visitor, device := e.want(name)
					got := make(chan string, 1)
					go func() { got <- state(r.device) }() // both at once: one may wait for the other
					gotVisitor, gotDevice := state(r.visitor), <-got
					// What ended before it broke has ended: that it broke the other end sees.
					if name == "device ended, the other moved" {
						visitor = ended
					}
					if name == "visitor ended, the other moved" {
						device = ended
					}
					if gotVisitor != visitor && !(event == "reset by the visitor" && gotVisitor == broke) {
						t.Errorf("the visitor: %s, want %s", gotVisitor, visitor)
					}
					if gotDevice != device && !(event == "reset by the device" && gotDevice == broke) {
						t.Errorf("the device: %s, want %s", gotDevice, device)
					}
					r.over(t)
				})
			})
		}
	}
}

// In each state of the two directions a taken visitor's bytes are whole, and ends come
// behind all of them.
func TestTakenVisitorIsByteExact(t *testing.T) {
	server, client := laneTLS(t)
	up, down := randomBytes(3<<20), randomBytes(3<<20)
	for _, c := range []struct {
		name                 string
		upBefore, downBefore int  // bytes that go before the move, as far as they get
		upEnds, downEnds     bool // before the move
		readsUp, readsDown   bool // what is sent before the move is read before it
	}{
		{name: "nothing before"},
		{name: "all before", upBefore: 3 << 20, downBefore: 3 << 20, readsUp: true, readsDown: true},
		{name: "some before", upBefore: 1000, downBefore: 300_000, readsUp: true, readsDown: true},
		{name: "some before, unread", upBefore: 1000, downBefore: 3000},
		{name: "both wait", upBefore: 3 << 20, downBefore: 3 << 20},
		{name: "the visitor waits", upBefore: 3 << 20},
		{name: "the device waits", downBefore: 3 << 20},
		{name: "the visitor has ended", upBefore: 3 << 20, upEnds: true, readsUp: true},
		{name: "the visitor has ended, unread", upBefore: 1000, upEnds: true},
		{name: "the device has ended", downBefore: 3 << 20, downEnds: true, readsDown: true},
		{name: "the device has ended, unread", downBefore: 3000, downEnds: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTakeRig(t, server, client, "")
				send := func(w interface {
					io.Writer
					CloseWrite() error
				}, p []byte, before int, ends bool) (rest func()) {
					done := make(chan struct{})
					go func() {
						defer close(done)
						w.Write(p[:before])
						if ends {
							w.CloseWrite()
						}
					}()
					return func() {
						<-done
						if !ends {
							w.Write(p[before:])
							w.CloseWrite()
						}
					}
				}
				if c.upEnds {
					up = up[:c.upBefore]
				}
				if c.downEnds {
					down = down[:c.downBefore]
				}
				restUp, restDown := send(r.visitor, up, c.upBefore, c.upEnds), send(r.device, down, c.downBefore, c.downEnds)
				read := func(from io.Reader, n int, early bool) *bytes.Buffer {
					var b bytes.Buffer
					if early {
						io.CopyN(&b, from, int64(n))
					}
					return &b
				}
				gotUp, gotDown := make(chan *bytes.Buffer, 1), make(chan *bytes.Buffer, 1)
				go func() { gotUp <- read(r.device, c.upBefore, c.readsUp) }()
				go func() { gotDown <- read(r.visitor, c.downBefore, c.readsDown) }()
				bUp, bDown := <-gotUp, <-gotDown
				synctest.Wait()
				r.mustTake(t)
				go restUp()
				go restDown()
				done := make(chan error, 1)
				go func() { _, err := io.Copy(bUp, struct{ io.Reader }{r.device}); done <- err }()
				if _, err := io.Copy(bDown, r.visitor); err != nil || !bytes.Equal(bDown.Bytes(), down) {
					t.Errorf("the visitor got %d of %d bytes, and %v", bDown.Len(), len(down), err)
				}
				if err := <-done; err != nil || !bytes.Equal(bUp.Bytes(), up) {
					t.Errorf("the device got %d of %d bytes, and %v", bUp.Len(), len(up), err)
				}
				r.device.Close()
				r.over(t)
			})
		})
		up, down = randomBytes(3<<20), randomBytes(3<<20)
	}
}

// A direction that waits does not hold up the other one.
func TestTakenDirectionsDoNotWaitForEachOther(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRig(t, server, client, "")
		bulk := randomBytes(4 << 20)
		go r.device.Write(bulk)
		synctest.Wait()
		r.mustTake(t)
		says(t, r.visitor, r.device, "the visitor goes ahead")
		got := make([]byte, len(bulk))
		if _, err := io.ReadFull(r.visitor, got); err != nil || !bytes.Equal(got, bulk) {
			t.Fatal("the bulk is not what was written:", err)
		}
		r.over(t)
	})
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRig(t, server, client, "")
		bulk := randomBytes(4 << 20)
		go r.visitor.Write(bulk)
		synctest.Wait()
		r.mustTake(t)
		says(t, r.device, r.visitor, "the device goes ahead")
		got := make([]byte, len(bulk))
		if _, err := io.ReadFull(r.device, got); err != nil || !bytes.Equal(got, bulk) {
			t.Fatal("the bulk is not what was written:", err)
		}
		r.over(t)
	})
}
