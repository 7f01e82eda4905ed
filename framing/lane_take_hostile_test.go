package framing_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
)

// A takeRelay is both of a relay's nodes, by hand: the one with the link and the one
// that the visitor has come to.
type takeRelay struct {
	p      *peer
	link   *framing.Link
	device *framing.Stream
	offer  framing.LaneToken
	tls    *tls.Conn // the lane, at the node
	near   *tls.Conn // at the remote
}

// laneOffer is the header of a visitor with a lane offer.
func offeringHeader(token framing.LaneToken, node string) []byte {
	return rec(headerRec, proxyHeader(1, tlv(0x02, "xyz.relay.test"), tlv(0x05, "0123456789abcdef"), tlv(0xE0, "\x00"),
		tlv(0xE1, string(token[:])+string(str8(node)))))
}

func newTakeRelay(t testing.TB, server, client *tls.Config) *takeRelay {
	t.Helper()
	r := &takeRelay{offer: framing.NewLaneToken()}
	r.link, r.p = handMade{minor: 4, capabilities: framing.CapabilityLanes}.relay(t)
	r.p.send(rec(startMux, []byte{2}), frame(syn, byHand), frame(psh, byHand, offeringHeader(r.offer, "a")))
	var err error
	if r.device, err = r.link.Accept(); err != nil {
		t.Fatal(err)
	}
	if o := r.device.Header().Lane; o != (framing.LaneOffer{Node: "a", Token: r.offer}) {
		t.Fatalf("the offer is %+v", o)
	}
	r.p.discard()
	rig := &laneRig{server: server, client: client}
	r.tls, r.near = rig.dial(t)
	return r
}

// take takes TAKE and then does something, and returns what Take does.
func (r *takeRelay) take(t testing.TB, then func()) error {
	t.Helper()
	took := make(chan error, 1)
	go func() { _, err := r.device.Take(t.Context(), r.near); took <- err }()
	got := make([]byte, 3+len(r.offer))
	if _, err := io.ReadFull(r.tls, got); err != nil || string(got) != string(rec(takeRec, r.offer[:])) {
		t.Errorf("TAKE is %x, %v", got, err)
	}
	then()
	return <-took
}

// taken answers TAKE with TAKEN, and returns what the device says in FROM.
func (r *takeRelay) taken(t testing.TB, at uint64, ended byte) []byte {
	t.Helper()
	if err := r.take(t, func() { r.tls.Write(rec(takenRec, u64(at), []byte{ended})) }); err != nil {
		t.Fatal(err)
	}
	return r.from()
}

func (r *takeRelay) from() []byte {
	got := make([]byte, 12)
	r.tls.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := io.ReadFull(r.tls, got)
	return got[:n]
}

// below is the node's end of the lane without TLS.
func (r *takeRelay) below() interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
} {
	return r.tls.NetConn().(*framing.TLSRecordConn).Conn
}

// A node that answers TAKE with anything but TAKEN loses the lane, and nothing else.
func TestHostileAnswerToTake(t *testing.T) {
	server, client := laneTLS(t)
	for name, c := range map[string]struct {
		answer  []byte
		refuses bool
	}{
		"refused in good order": {nil, true},
		"TAKEN too short":       {rec(takenRec, u64(5)), false},
		"TAKEN too long":        {rec(takenRec, make([]byte, 65)), false},
		"TAKEN beyond reason":   {rec(takenRec, u64(1<<63), []byte{0}), false},
		"BOUND":                 {rec(boundRec), false},
		"FROM":                  {rec(fromRec, u64(5), []byte{0}), false},
		"unknown type":          {rec(0x7f), false},
		"garbage in TLS":        {[]byte("garbage"), false},
		"lane lost":             {[]byte("lost"), false},
		"no answer":             {[]byte("none"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTakeRelay(t, server, client)
				start := time.Now()
				err := r.take(t, func() {
					switch name {
					case "refused in good order":
						r.tls.Close()
					case "garbage in TLS":
						r.tls.NetConn().Write(randomBytes(100))
					case "lane lost":
						socket.Abort(r.tls.NetConn())
					case "no answer":
					default:
						r.tls.Write(c.answer)
					}
				})
				if err == nil || errors.Is(err, framing.ErrNotTaken) != c.refuses || (time.Since(start) != 0) != (name == "no answer") {
					t.Errorf("Take returned %v after %v", err, time.Since(start))
				}
				r.p.send(frame(psh, byHand, rec(dataRec, []byte("still here")), rec(endRec)))
				want(t, r.device, "still here")
				up(t, r.link)
				r.device.Reset()
				settled(t, r.link)
			})
		})
	}
}

// What does not hold behind TAKEN breaks the visitor, at both ends, and not the link.
func TestTakenThatDoesNotHold(t *testing.T) {
	server, client := laneTLS(t)
	data := func(s string) []byte { return frame(psh, byHand, rec(dataRec, []byte(s))) }
	end := frame(psh, byHand, rec(endRec))
	for name, c := range map[string]struct {
		before []byte
		at     uint64
		ended  byte
		after  []byte
	}{
		"fewer bytes than have come":         {data("12345"), 4, 0, nil},
		"more bytes than it says":            {nil, 4, 0, data("12345")},
		"more bytes than it says, later":     {data("1234"), 4, 0, data("5")},
		"an end before them":                 {nil, 4, 0, cat(data("123"), end)},
		"an end before them, ended":          {nil, 4, 1, cat(data("123"), end)},
		"more bytes before the end":          {nil, 4, 1, cat(data("12345"), end)},
		"it had ended, and has not":          {cat(data("1234"), end), 4, 0, nil},
		"it had ended elsewhere":             {cat(data("1234"), end), 5, 1, nil},
		"cut by the node with the link":      {nil, 4, 0, frame(psh, byHand, rec(resetRec, u16(0)))},
		"cut once all is there":              {data("1234"), 4, 0, frame(psh, byHand, rec(resetRec, u16(0)))},
		"FIN without END, once all is there": {data("1234"), 4, 0, frame(fin, byHand)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTakeRelay(t, server, client)
				r.p.send(c.before)
				synctest.Wait()
				r.taken(t, c.at, c.ended)
				r.p.send(c.after)
				synctest.Wait()
				if got := state(r.device); got != broke && !(got == ended && len(c.before) > 11 && name[:6] == "it had") {
					t.Errorf("the device: %s", got)
				}
				if r.device.Broken() == nil {
					t.Error("the stream is not broken")
				}
				below := r.below()
				below.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := io.Copy(io.Discard, below); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the node's end of the lane: %v, want a reset", err)
				}
				up(t, r.link)
				r.device.Reset()
				synctest.Wait()
				r.link.Close()
			})
		})
	}
}

// SWITCH has no place on a stream that is taken.
func TestSwitchOfTakenStreamEndsLink(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRelay(t, server, client)
		r.taken(t, 0, 0)
		r.p.send(frame(psh, byHand, rec(switchRec, u64(0))))
		if _, err := wait(t, r.link); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("the link: %v", err)
		}
	})
	// Before TAKEN it may not be told from one that answers a BIND: the stream breaks.
	for _, refused := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newTakeRelay(t, server, client)
			r.take(t, func() {
				r.p.send(frame(psh, byHand, rec(switchRec, u64(0))))
				synctest.Wait()
				if refused {
					r.tls.Close()
					return
				}
				r.tls.Write(rec(takenRec, u64(0), []byte{0}))
			})
			broken(t, r.device)
			up(t, r.link)
		})
	}
}

// FROM says what has gone on the stream, END follows there, and nothing else than the
// device's bytes is on the lane behind it.
func TestFromIsTheLastInTLS(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRelay(t, server, client)
		io.WriteString(r.device, "1234567")
		from := r.taken(t, 3, 0)
		if want := rec(fromRec, u64(7), []byte{0}); string(from) != string(want) {
			t.Errorf("FROM is %x, want %x", from, want)
		}
		io.WriteString(r.device, "bare")
		got := make([]byte, 4)
		if _, err := io.ReadFull(r.below(), got); err != nil || string(got) != "bare" {
			t.Errorf("on the lane %q, %v", got, err)
		}
		r.below().Write([]byte("lane"))
		r.p.send(frame(psh, byHand, rec(dataRec, []byte("hop"))))
		got = make([]byte, 7)
		r.device.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(r.device, got); err != nil || string(got) != "hoplane" {
			t.Errorf("read %q, %v", got, err)
		}
		if n := r.link.NumStreams(); n != 1 {
			t.Errorf("%d streams", n)
		}
		r.p.send(frame(psh, byHand, rec(endRec)))
		up(t, r.link)
		r.device.Reset()
		settled(t, r.link)
	})
}

// A remote that takes a visitor and then breaks its word breaks that visitor.
func TestHostileTaker(t *testing.T) {
	server, client := laneTLS(t)
	for name, f := range map[string]func(r *takeRig, lane *tls.Conn){
		"FROM before what has come":  func(r *takeRig, lane *tls.Conn) { lane.Write(rec(fromRec, u64(2), []byte{0})) },
		"FROM behind what will come": func(r *takeRig, lane *tls.Conn) { lane.Write(rec(fromRec, u64(4), []byte{0})); r.device.CloseWrite() },
		"more than FROM says": func(r *takeRig, lane *tls.Conn) {
			lane.Write(rec(fromRec, u64(3), []byte{0}))
			io.WriteString(r.device, "x")
		},
		"an end before FROM that has": func(r *takeRig, lane *tls.Conn) {
			r.device.CloseWrite()
			synctest.Wait()
			lane.Write(rec(fromRec, u64(2), []byte{1}))
		},
		"TAKE again":     func(r *takeRig, lane *tls.Conn) { lane.Write(rec(takeRec, r.offer.Token[:])) },
		"FROM too short": func(r *takeRig, lane *tls.Conn) { lane.Write(rec(fromRec, u64(3))) },
		"TLS's end":      func(r *takeRig, lane *tls.Conn) { lane.Close() },
		"garbage":        func(r *takeRig, lane *tls.Conn) { lane.NetConn().Write(randomBytes(100)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTakeRig(t, server, client, "hello")
				io.WriteString(r.device, "123")
				synctest.Wait()
				lane, taken := r.takenByHand(t)
				if string(taken) != string(rec(takenRec, u64(5), []byte{0})) {
					t.Fatalf("TAKEN is %x", taken)
				}
				f(r, lane)
				if got := state(r.visitor); got != broke {
					t.Errorf("the visitor: %s", got)
				}
				if err := <-r.served; err == nil && name[:4] != "FROM" && name[:4] != "more" {
					t.Error("the lane was served")
				}
				r.over(t)
			})
		})
	}
}

// takenByHand is a remote by hand that takes the visitor, its lane and the TAKEN that it has
// got. It has yet to say FROM.
func (r *takeRig) takenByHand(t *testing.T) (lane *tls.Conn, taken []byte) {
	t.Helper()
	relay, lane := r.dial(t)
	go func() {
		r.served <- framing.ServeLane(relay, nil, func(framing.LaneToken) *framing.Detour { return r.detour }, nil)
	}()
	lane.Write(rec(takeRec, r.offer.Token[:]))
	taken = make([]byte, 12)
	if _, err := io.ReadFull(lane, taken); err != nil {
		t.Fatal(err)
	}
	return lane, taken
}

// A remote that says no FROM is waited for, and for CloseLinger alone where both ends of the
// visitor have been passed on.
func TestTakerWithoutFrom(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newTakeRig(t, server, client, "")
		r.device.CloseWrite()
		synctest.Wait()
		r.takenByHand(t)
		start := time.Now()
		r.visitor.CloseWrite()
		if err := <-r.served; err == nil || time.Since(start) != framing.CloseLinger {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.over(t)
	})
}

// A remote that says no FROM has no visitor for ever: it has FromTime from the last byte that
// has come by the hop, since it may have to end a write first.
func TestTakerThatNeverSaysFrom(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		for _, writes := range []int{0, 2} {
			r := newTakeRig(t, server, client, "")
			r.takenByHand(t)
			start := time.Now()
			for range writes {
				time.Sleep(framing.FromTime * 2 / 3)
				says(t, r.device, r.visitor, "by the hop")
			}
			err := <-r.served
			if took, least := time.Since(start), time.Duration(writes)*framing.FromTime*2/3+framing.FromTime; err == nil || took < least || took > least+framing.FromTime {
				t.Errorf("with %d writes: %v after %v", writes, err, took)
			}
			if _, err := r.visitor.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("the visitor reads %v", err)
			}
			r.over(t)
		}
	})
}

// FuzzTaken has a node say anything in the place of TAKEN, or a remote in that of FROM:
// what is taken for it says so, and no more than it is read.
func FuzzTaken(f *testing.F) {
	f.Add(framing.Taken(0, false))
	f.Add(framing.Taken(1<<63-1, true))
	f.Add(append(framing.Taken(5, true), "bare"...))
	f.Add(rec(takenRec, u64(1<<63), []byte{0}))
	f.Add(rec(takenRec, u64(5), []byte{2}))
	f.Add(rec(takenRec, u64(5), []byte{1}, make([]byte, 55)))
	f.Add(rec(takenRec, u64(5), []byte{1}, make([]byte, 56)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		offset, ended, err := framing.ReadTaken(r)
		if err != nil {
			return
		}
		again := framing.Taken(offset, ended)
		if n := len(in) - r.Len(); offset < 0 || n < len(again) || n > 3+64 || !bytes.Equal(in[3:12], again[3:]) || in[0] != takenRec {
			t.Errorf("%x is TAKEN at %d, ended %v, of %d bytes", in, offset, ended, n)
		}
	})
}
