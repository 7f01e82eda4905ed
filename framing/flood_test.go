package framing_test

import (
	"bytes"
	"context"
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

// What a peer by hand says, byte by byte as PROTOCOL.md has it.

// plain is a record of a link or a stream.
func plain(t byte, payload ...byte) []byte {
	return append([]byte{t, byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

// muxed is a frame of smux version 2 in a MUX record.
func muxed(cmd byte, id uint32, payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{2, cmd}, uint16(len(payload)))
	return plain(0x21, append(binary.LittleEndian.AppendUint32(b, id), payload...)...)
}

var (
	helloByHand   = plain(0x01, make([]byte, 1+4+32+64+8+16+1)...)
	welcomeByHand = plain(0x02, 0, 0, 0, 0, 0, 1, 187, 0)
	pingByHand    = plain(0x10, make([]byte, 8)...)
	claimByHand   = plain(0x04, append([]byte{1, 'x'}, 0, 0)...)
	goAwayByHand  = plain(0x12, make([]byte, 2+4+2)...)
)

// bareRemote returns a relay's link and the other end of its connection, which
// holds so many bytes each way.
func bareRemote(t *testing.T, buffer int) (*framing.Link, *memconn.Conn) {
	t.Helper()
	a, b := memconn.Pipe(buffer)
	go b.Write(helloByHand)
	relay, _, err := framing.Server(context.Background(), a)
	if err == nil {
		err = relay.Welcome(framing.Welcome{}, framing.Handler{Claim: func(framing.Claim) error { return nil }})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { relay.Close(); b.Close() })
	return relay, b
}

// bareRelay returns a remote's link, and the other end likewise.
func bareRelay(t *testing.T, buffer int) (*framing.Link, *memconn.Conn) {
	t.Helper()
	a, b := memconn.Pipe(buffer)
	go b.Write(welcomeByHand)
	hello := framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64)}
	remote, _, err := framing.Client(context.Background(), a, hello, framing.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remote.Close(); b.Close() })
	return remote, b
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
	b.Write(plain(0x20, 2))
	b.Write(muxed(0, 3))
	b.Write(muxed(2, 3, headerByHand()...))
	s, err := remote.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go b.Write(f(3))
	return remote, s, b
}

// headerByHand is a HEADER record: a PROXY header over IPv4 with a name.
func headerByHand() []byte {
	tlv := append([]byte{0x02, 0, 1}, 'x')
	body := append([]byte{192, 0, 2, 7, 203, 0, 113, 1, 18, 52, 1, 187}, tlv...)
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00"), byte(len(body)))
	return plain(0x01, append(h, body...)...)
}

func times(n int, b []byte) func(uint32) []byte {
	return func(uint32) []byte { return bytes.Repeat(b, n) }
}

// credits are CREDIT records of one byte each.
func credits(n int) func(uint32) []byte {
	return func(id uint32) []byte {
		return bytes.Repeat(muxed(2, id, bytes.Repeat(plain(0x05, 0, 0, 0, 1), 100)...), n/100)
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
		{"PONG", times(410, plain(0x11, make([]byte, 8)...)), "", "flood"},
		{"CLAIM", times(90, claimByHand), "only", "flood"},
		{"GOAWAY", times(30, goAwayByHand), "", "flood"},
		{"GOAWAY_ACK", times(410, plain(0x13)), "", "flood"},
		{"LOST", times(410, plain(0x07, 1, 'x', 0, 5, 0, 0)), "not", "flood"},
		{"optional record", times(410, plain(0x90, make([]byte, 4096)...)), "", "flood"},
		{"empty MUX", times(410, plain(0x21)), "", "flood"},
		{"CREDIT", credits(200), "", "flood"},
		{"streams", func(uint32) (b []byte) {
			for id := range uint32(2*framing.MaxStreams + 10) {
				b = append(b, muxed(0, 2*id+5)...)
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

// What an honest peer may need to say in a hurry is no flood.
func TestBurstIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, s, b := evilRemote(t, func(id uint32) []byte {
			return append(bytes.Repeat(claimByHand, framing.MaxNames), bytes.Repeat(pingByHand, 60)...)
		})
		<-time.After(time.Second)
		alive(t, relay)
		for range 600 { // 15 in a second for long
			<-time.After(time.Second / 15)
			b.Write(pingByHand)
		}
		alive(t, relay)
		// Data that was sent allows more CREDIT.
		b.Write(muxed(2, 3, plain(0x05, 0, 1, 0, 0)...))
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
		b.Write(plain(0x20, 2))
		go func() {
			for id := range uint32(3 * framing.MaxStreams) {
				if _, err := b.Write(append(muxed(0, 2*id+3), muxed(1, 2*id+3)...)); err != nil {
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
			return muxed(4, id, append(binary.LittleEndian.AppendUint32(nil, 0), 0, 0, 0, 0)...) // UPD: consumed 0, window 0
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
		handler := framing.Handler{Claim: func(framing.Claim) error { return &framing.Denial{Code: framing.DeniedTaken} }}
		relay, remote := links(t, a, b, handler, framing.Handler{})
		for range 2 * framing.MaxNames {
			var d *framing.Denial
			if err := remote.Claim(t.Context(), framing.Claim{Name: "x"}); !errors.As(err, &d) {
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
