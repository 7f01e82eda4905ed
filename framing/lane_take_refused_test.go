package framing_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/testnet"
)

// A visitor is taken once, by its own token and while there is something to take. What
// is refused stays on its link, and may get a lane there.
func TestRefusedTakeChangesNothing(t *testing.T) {
	server, client := laneTLS(t)
	for name, before := range map[string]func(r *takeRig){
		"another token": func(r *takeRig) { r.offer.Token = framing.NewLaneToken() },
		"both have ended": func(r *takeRig) {
			r.visitor.CloseWrite()
			r.device.CloseWrite()
		},
		"kept on the hop": func(r *takeRig) { r.detour = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTakeRig(t, server, client, "")
				before(r)
				synctest.Wait()
				if _, err := r.take(t); !errors.Is(err, framing.ErrNotTaken) && !errors.Is(err, framing.ErrStreamOver) {
					t.Errorf("took with %v", err)
				}
				<-r.served
				if name != "both have ended" {
					says(t, r.visitor, r.device, "still here")
					says(t, r.device, r.visitor, "still here")
					r.laneRig.move(t, r.device)
					says(t, r.visitor, r.device, "on a lane to the other node")
				}
				r.over(t)
			})
		})
	}
}

// Only one of several lanes that ask for a visitor gets it.
func TestVisitorIsTakenOnce(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRig(t, server, client, "")
		r.mustTake(t)
		relay, remote := r.dial(t)
		go func() {
			r.served <- framing.ServeLane(relay, nil, func(framing.LaneToken) *framing.Detour { return r.detour }, nil)
		}()
		remote.Write(rec(takeRec, r.offer.Token[:]))
		if _, err := remote.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a second TAKE got %v, want TLS's end", err)
		}
		says(t, r.visitor, r.device, "still here")
		says(t, r.device, r.visitor, "still here")
		r.over(t)
	})
}

// An offer is told to nobody who cannot take it.
func TestLaneOfferIsForThoseWhoHaveLanes(t *testing.T) {
	offered := header
	offered.Lane = framing.LaneOffer{Node: "a", Token: framing.NewLaneToken()}
	for _, capabilities := range []uint32{0, framing.CapabilityLanes} {
		a, b := memconn.Pipe(0)
		relay, remote := linksWith(t, a, b, framing.Handler{}, framing.Handler{}, capabilities)
		if _, err := relay.Open(offered, nil); err != nil {
			t.Fatal(err)
		}
		d, err := remote.Accept()
		if err != nil {
			t.Fatal(err)
		}
		want := header
		if capabilities != 0 {
			want = offered
		}
		if got := d.Header(); got != want {
			t.Errorf("with capabilities %d: %+v, want %+v", capabilities, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{minor: 3, capabilities: framing.CapabilityLanes}.remote(t)
		if _, err := l.Open(offered, nil); err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte, 1)
		go func() { b, _ := io.ReadAll(p.conn); got <- b }()
		synctest.Wait()
		l.Close()
		p.conn.Close()
		if b := <-got; bytes.Contains(b, offered.Lane.Token[8:]) {
			t.Error("a remote of minor version 3 was sent the token")
		}
	})
}

// A visitor that nobody takes is left to the kernel once it has carried much, and can be
// taken no more.
func TestVisitorThatNobodyTakesIsKept(t *testing.T) {
	server, client := laneTLS(t)
	near, far := testnet.TCPPair(t)
	hop, other := testnet.TCPPair(t)
	d := framing.NewDetour(hop, 0)
	framing.KeepAfter(d, 1<<20)
	done := make(chan duplex.Result, 1)
	go func() { done <- duplex.Copy(far, d, duplex.Options{}) }()
	go func() {
		io.Copy(other, other)
		other.CloseWrite()
	}()
	all := randomBytes(8 << 20)
	go near.Write(all)
	got := make([]byte, len(all))
	if _, err := io.ReadFull(near, got); err != nil || !bytes.Equal(got, all) {
		t.Fatal("what comes back is not what was sent:", err)
	}
	if read, write := d.Carrier(); read != hop || write != hop {
		t.Error("the hop is not carried by its connection alone")
	}
	r := &laneRig{server: server, client: client, served: make(chan error, 1)}
	relay, remote := r.dial(t)
	go func() {
		r.served <- framing.ServeLane(relay, nil, func(framing.LaneToken) *framing.Detour { return d }, nil)
	}()
	remote.Write(rec(takeRec, make([]byte, 32)))
	if _, err := remote.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("TAKE got %v, want TLS's end", err)
	}
	if err := <-r.served; !errors.Is(err, framing.ErrStreamOver) || d.Taken() {
		t.Errorf("the lane: %v", err)
	}
	near.CloseWrite()
	if b, err := io.ReadAll(near); err != nil || len(b) > 0 {
		t.Errorf("at the end: %d bytes, %v", len(b), err)
	}
	if result := <-done; result.Err != nil {
		t.Error(result.Err)
	}
}
