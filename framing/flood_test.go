package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

var (
	pingByHand   = rec(ping, make([]byte, 8))
	claimByHand  = rec(claim, str8("x"), str16(""))
	goAwayByHand = rec(goAway, make([]byte, 2+4), str16(""))
)

// bareRemote returns a relay's link, which grants all names, and the other end of
// its connection, which holds so many bytes each way.
func bareRemote(t *testing.T, buffer int) (*framing.Link, *memconn.Conn) {
	t.Helper()
	l, p := handMade{buffer: buffer, handler: framing.Handler{Claim: grantAll}}.remote(t)
	return l, p.conn
}

// bareRelay returns a remote's link, and the other end likewise.
func bareRelay(t *testing.T, buffer int) (*framing.Link, *memconn.Conn) {
	t.Helper()
	l, p := handMade{buffer: buffer}.relay(t)
	return l, p.conn
}

// evilRemote returns a relay's link with a stream on it, and the other end of
// its connection, which sends what f gives for the stream's id.
func evilRemote(t *testing.T, f func(id uint32) []byte) (relay *framing.Link, s *framing.Stream, remote *memconn.Conn) {
	relay, b := bareRemote(t, 0)
	go io.Copy(io.Discard, b)
	s, err := relay.Open(header, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	go b.Write(f(3)) // the first id that smux gives
	return relay, s, b
}

// evilRelay returns a remote's link with a stream on it that the other end of
// its connection has opened, which then sends what f gives for the stream's id.
func evilRelay(t *testing.T, f func(id uint32) []byte) (remote *framing.Link, s *framing.Stream, relay *memconn.Conn) {
	remote, b := bareRelay(t, 0)
	go io.Copy(io.Discard, b)
	b.Write(rec(0x20, []byte{2}))
	b.Write(frame(0, 3))
	b.Write(frame(2, 3, goodHeader()))
	s, err := remote.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go b.Write(f(3))
	return remote, s, b
}

func times(n int, b []byte) func(uint32) []byte {
	return func(uint32) []byte { return bytes.Repeat(b, n) }
}

// credits are CREDIT records of one byte each.
func credits(n int) func(uint32) []byte {
	return func(id uint32) []byte {
		return bytes.Repeat(frame(2, id, bytes.Repeat(rec(0x05, []byte{0, 0, 0, 1}), 100)), n/100)
	}
}

// Each of these is within the protocol but for the number of them.
func TestFloodEndsLink(t *testing.T) {
	for _, c := range []struct {
		name         string
		bytes        func(id uint32) []byte
		atRelay, why string // atRelay "only" or "not"
	}{
		{"PING", times(410, pingByHand), "", "flood"},
		{"PONG", times(410, rec(0x11, make([]byte, 8))), "", "flood"},
		{"CLAIM", times(2100, claimByHand), "only", ""}, // it may be that too many wait
		{"GOAWAY", times(30, goAwayByHand), "", "flood"},
		{"GOAWAY_ACK", times(410, rec(0x13)), "", "flood"},
		{"LOST", times(410, rec(0x07, []byte{1, 'x', 0, 5, 0, 0})), "not", "flood"},
		{"optional record", times(410, rec(0x90, make([]byte, 4096))), "", "flood"},
		{"empty MUX", times(410, rec(0x21)), "", "flood"},
		{"CREDIT", credits(200), "", "flood"},
		{"streams", func(uint32) (b []byte) {
			for id := range uint32(2*framing.MaxStreams + 10) {
				b = append(b, frame(0, 2*id+5)...)
			}
			return b
		}, "", "stream"},
	} {
		check := func(t *testing.T, l *framing.Link, s *framing.Stream) {
			took, err := hear(t, l)
			if !errors.Is(err, framing.ErrProtocol) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("the link ended with %v, want a protocol violation: %s", err, c.why)
			}
			if took > time.Second {
				t.Errorf("the link ended after %v", took)
			}
			if _, err := io.ReadAll(s); err == nil {
				t.Error("a stream of it ended in good order")
			}
		}
		if c.atRelay != "not" {
			t.Run("relay/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, s, _ := evilRemote(t, c.bytes)
					check(t, l, s)
				})
			})
		}
		if c.atRelay != "only" {
			t.Run("remote/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, s, _ := evilRelay(t, c.bytes)
					check(t, l, s)
				})
			})
		}
	}
}

// Claims and releases that are answered at once are a flood, too.
func TestFloodOfClaimsThatAreAnswered(t *testing.T) {
	for name, ask := range map[string][]byte{"CLAIM": claimWithRules(nil), "RELEASE": rec(release, str8("x"))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: 2, handler: framing.Handler{Claim: grantAll}}.remote(t)
				for range 2 * framing.MaxNames {
					p.send(ask)
					p.next()
				}
				up(t, l)
				p.send(ask)
				if _, err := wait(t, l); !errors.Is(err, framing.ErrProtocol) || !strings.Contains(err.Error(), "flood") {
					t.Errorf("the link ended with %v", err)
				}
			})
		})
	}
}

// What an honest peer may need to say in a hurry is no flood.
func TestBurstIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, s, b := evilRemote(t, func(id uint32) []byte {
			return append(bytes.Repeat(claimByHand, framing.MaxAsked), bytes.Repeat(pingByHand, 60)...)
		})
		<-time.After(time.Second)
		alive(t, relay)
		for range 600 { // 15 in a second for long
			<-time.After(time.Second / 15)
			b.Write(pingByHand)
		}
		alive(t, relay)
		// Data that was sent allows more CREDIT.
		b.Write(frame(2, 3, rec(0x05, []byte{0, 1, 0, 0})))
		go s.Write(make([]byte, 64<<10))
		<-time.After(time.Second)
		b.Write(credits(100)(3))
		alive(t, relay)
	})
}

// A relay that opens and ends streams, and reads nothing, cannot make the
// remote hold more of them than MaxStreams.
func TestStreamsThatComeAndGoAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remote, b := bareRelay(t, 1<<10)
		b.Write(rec(0x20, []byte{2}))
		go func() {
			for id := range uint32(3 * framing.MaxStreams) {
				if _, err := b.Write(append(frame(0, 2*id+3), frame(1, 2*id+3)...)); err != nil {
					return
				}
			}
		}()
		if _, err := hear(t, remote); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("the link ended with %v, want too many streams", err)
		}
	})
}

// A remote that shuts smux's window cannot keep a stream whose visitor has
// left.
func TestShutWindowKeepsNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, s, _ := evilRemote(t, func(id uint32) []byte {
			return frame(4, id, append(binary.LittleEndian.AppendUint32(nil, 0), 0, 0, 0, 0)) // UPD: consumed 0, window 0
		})
		time.Sleep(time.Second)
		if _, err := s.Write(make([]byte, 4000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.Reset()
		time.Sleep(time.Second)
		if n := relay.NumStreams(); n != 0 {
			t.Errorf("%d streams are kept", n)
		}
		relay.Close()
	})
}

// Claims that are denied cannot go on for ever.
func TestDeniedClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		handler := framing.Handler{Claim: claimsBy(func(framing.Claim) error { return &framing.Denial{Code: framing.DeniedTaken} })}
		relay, remote := links(t, a, b, handler, framing.Handler{})
		for range 2 * framing.MaxNames {
			var d *framing.Denial
			if _, err := remote.Claim(t.Context(), framing.Claim{Name: "x"}); !errors.As(err, &d) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		remote.Claim(t.Context(), framing.Claim{Name: "x"})
		<-relay.Done()
		if err := relay.Err(); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("the link ended with %v", err)
		}
	})
}
