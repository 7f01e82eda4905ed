package framing_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// The bytes of PROTOCOL.md, put together by hand: what is here must not use the
// package's own encoders, so that a mistake in them is seen.

// The types of link records.
const (
	hello     = 0x01
	welcome   = 0x02
	refused   = 0x03
	claim     = 0x04
	claimed   = 0x05
	denied    = 0x06
	lost      = 0x07
	release   = 0x0a
	released  = 0x0b
	nodes     = 0x0e
	ping      = 0x10
	pong      = 0x11
	goAway    = 0x12
	goAwayAck = 0x13
	startMux  = 0x20
	muxRecord = 0x21

	lanesWanted = 0x30
	laneTokens  = 0x31
	laneReset   = 0x32
)

// The types of stream records.
const (
	headerRec = 0x01
	dataRec   = 0x02
	endRec    = 0x03
	resetRec  = 0x04
	creditRec = 0x05
	switchRec = 0x06
)

// The types of the records of a lane.
const (
	joinRec  = 0x01
	bindRec  = 0x02
	boundRec = 0x03
	takeRec  = 0x04
	takenRec = 0x05
	fromRec  = 0x06
)

// The commands of smux.
const (
	syn = 0
	fin = 1
	psh = 2
	nop = 3
	upd = 4
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func u16(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func str8(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func str16(s string) []byte { return append(u16(len(s)), s...) }

// rec is a record, of a link or a stream.
func rec(t byte, payload ...[]byte) []byte {
	p := cat(payload...)
	return cat([]byte{t}, u16(len(p)), p)
}

// frame is a frame of smux version 2 inside a MUX record.
func frame(cmd byte, id uint32, payload ...[]byte) []byte {
	return rec(muxRecord, smuxFrame(2, cmd, id, payload...))
}

func smuxFrame(version, cmd byte, id uint32, payload ...[]byte) []byte {
	p := cat(payload...)
	b := []byte{version, cmd, byte(len(p)), byte(len(p) >> 8)}
	return append(binary.LittleEndian.AppendUint32(b, id), p...)
}

func helloRecord() []byte { return helloWith(0, 0) }

func helloWith(minor byte, capabilities int) []byte {
	return rec(hello, []byte{minor}, u32(capabilities), make([]byte, 32+64), make([]byte, 8), make([]byte, 16), str8("by hand"))
}

func welcomeRecord() []byte { return welcomeWith(0, 0) }

func welcomeWith(minor byte, capabilities int) []byte {
	names := []byte(nil)
	if minor >= 3 {
		names = u16(framing.MaxNames)
	}
	return rec(welcome, []byte{minor}, u32(capabilities), u16(443), str8("by hand"), names)
}

// proxyHeader is a PROXY protocol v2 header over IPv4 with these TLVs.
func proxyHeader(command byte, tlvs ...[]byte) []byte {
	addrs := cat([]byte{192, 0, 2, 7}, []byte{203, 0, 113, 1}, u16(4711), u16(443))
	body := cat(addrs, cat(tlvs...))
	return cat([]byte("\r\n\r\n\x00\r\nQUIT\n"), []byte{0x20 | command, 0x11}, u16(len(body)), body)
}

func tlv(t byte, value string) []byte { return cat([]byte{t}, u16(len(value)), []byte(value)) }

func goodHeader() []byte {
	return rec(headerRec, proxyHeader(1, tlv(0x02, "xyz.relay.test"), tlv(0x05, "0123456789abcdef"), tlv(0xE0, "\x00")))
}

// A peer is the other end of a link, spoken by hand.
type peer struct {
	t    testing.TB
	conn *memconn.Conn
}

func (p *peer) send(b ...[]byte) {
	p.t.Helper()
	if _, err := p.conn.Write(cat(b...)); err != nil {
		p.t.Errorf("peer: %v", err)
	}
}

// next reads one record.
func (p *peer) next() (t byte, payload []byte) {
	p.t.Helper()
	var h [3]byte
	_, err := io.ReadFull(p.conn, h[:])
	payload = make([]byte, binary.BigEndian.Uint16(h[1:]))
	if err == nil {
		_, err = io.ReadFull(p.conn, payload)
	}
	if err != nil {
		p.t.Fatalf("peer: read a record: %v", err)
	}
	return h[0], payload
}

// expect reads one record of type t.
func (p *peer) expect(t byte) []byte {
	p.t.Helper()
	got, payload := p.next()
	if got != t {
		p.t.Fatalf("peer: got record 0x%02x %q, want 0x%02x", got, payload, t)
	}
	return payload
}

// nextSYN reads up to the opening of a stream and returns its id.
func (p *peer) nextSYN() uint32 {
	p.t.Helper()
	for {
		t, b := p.next()
		if t == muxRecord && b[1] == syn {
			return binary.LittleEndian.Uint32(b[4:])
		}
	}
}

// discard reads and throws away what comes.
func (p *peer) discard() { go io.Copy(io.Discard, p.conn) }

// handMade says how a peer by hand is met.
type handMade struct {
	handler      framing.Handler // of the link that it speaks with
	minor        byte            // of the peer by hand
	capabilities int             // that both sides name
	buffer       int             // bytes that the connection holds each way; 0 is memconn's default
}

// remote returns a relay's link and the remote by hand that it speaks with.
func (h handMade) remote(t testing.TB) (*framing.Link, *peer) {
	t.Helper()
	a, b := memconn.Pipe(h.buffer)
	p := &peer{t, b}
	go b.Write(helloWith(h.minor, h.capabilities))
	l, _, err := framing.Server(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Welcome(framing.Welcome{Capabilities: uint32(h.capabilities)}, h.handler); err != nil {
		t.Fatal(err)
	}
	p.expect(welcome)
	t.Cleanup(func() { l.Close(); b.Close() })
	return l, p
}

// relay returns a remote's link and the relay by hand that it speaks with.
func (h handMade) relay(t testing.TB) (*framing.Link, *peer) {
	t.Helper()
	a, b := memconn.Pipe(h.buffer)
	p := &peer{t, b}
	go b.Write(welcomeWith(h.minor, h.capabilities))
	said := framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64), Capabilities: uint32(h.capabilities)}
	l, _, err := framing.Client(context.Background(), a, said, h.handler)
	if err != nil {
		t.Fatal(err)
	}
	p.expect(hello)
	t.Cleanup(func() { l.Close(); b.Close() })
	return l, p
}

// rawRemote returns a relay's link and the remote by hand that it speaks with.
func rawRemote(t testing.TB, handler framing.Handler) (*framing.Link, *peer) {
	t.Helper()
	return handMade{handler: handler}.remote(t)
}

// rawRelay returns a remote's link and the relay by hand that it speaks with.
func rawRelay(t testing.TB, handler framing.Handler) (*framing.Link, *peer) {
	t.Helper()
	return handMade{handler: handler}.relay(t)
}

// wait waits up to a minute of a bubble's time for the link to end.
func wait(t testing.TB, l *framing.Link) (took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	select {
	case <-l.Done():
		return time.Since(start), l.Err()
	case <-time.After(time.Minute):
		t.Fatal("the link is still up after a minute")
		return 0, nil
	}
}

// up checks in a bubble that the link is up.
func up(t testing.TB, ls ...*framing.Link) {
	t.Helper()
	synctest.Wait()
	for _, l := range ls {
		if err := l.Err(); err != nil {
			t.Errorf("the link ended: %v", err)
		}
	}
}

// broken checks that a stream fails, and not as if it had ended.
func broken(t testing.TB, s *framing.Stream) {
	t.Helper()
	_, err := io.Copy(io.Discard, struct{ io.Reader }{s})
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read of a stream whose link is lost: %v, want an error that is no end", err)
	}
	if _, err := s.Write([]byte("x")); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("write to a stream whose link is lost: %v", err)
	}
	if err := s.Broken(); err == nil {
		t.Error("a stream whose link is lost is not Broken")
	}
}

var visitorAddr = netip.MustParseAddrPort("192.0.2.7:4711")
