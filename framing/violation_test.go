package framing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A violation is what PROTOCOL.md forbids one side to send.
type violation struct {
	name  string
	bytes []byte
}

var big = make([]byte, 4097)

// Both sides must not send these, before START_MUX or after.
var linkViolations = []violation{
	{"unknown type", rec(0x7f)},
	{"LANES_WANTED where none were agreed on", rec(lanesWanted, []byte{1})},
	{"LANE_TOKENS where none were agreed on", rec(laneTokens)},
	{"LANE_RESET where none were agreed on", rec(laneReset, u32(3))},
	{"type zero", rec(0)},
	{"optional record too long", rec(0x80, big)},
	{"GOAWAY too long", rec(goAway, u16(0), u32(0), str16(""), big)},
	{"GOAWAY short", rec(goAway, u16(0))},
	{"GOAWAY_ACK too long", rec(goAwayAck, []byte{0})},
	{"PING short", rec(ping, make([]byte, 7))},
	{"PING too long", rec(ping, make([]byte, 9))},
	{"PONG short", rec(pong, make([]byte, 7))},
	{"PONG too long", rec(pong, make([]byte, 9))},
	{"WELCOME out of turn", welcomeRecord()},
	{"HELLO out of turn", helloRecord()},
	{"REFUSED out of turn", rec(refused, u16(1), str16("no"))},
}

var relayViolations = []violation{ // by a relay
	{"RELEASE by the relay", rec(release, str8("xyz.relay.test"))},
	{"RELEASED unasked", rec(released, str8("xyz.relay.test"), []byte{1}, str16(""))},
	{"RELEASED short", rec(released, str8("xyz.relay.test"), []byte{1})},
	{"CLAIM by the relay", rec(claim, str8("xyz.relay.test"), str16(""))},
	{"CLAIMED unasked", rec(claimed, str8("xyz.relay.test"))},
	{"DENIED unasked", rec(denied, str8("xyz.relay.test"), u16(2), str16("no"))},
	{"CLAIMED short", rec(claimed, []byte{9, 'x'})},
	{"DENIED short", rec(denied, str8("xyz.relay.test"))},
	{"LOST short", rec(lost, str8("xyz.relay.test"), u16(5))},
	{"LOST too long", rec(lost, str8("x"), u16(5), str16(""), big)},
	{"START_MUX of version 1", rec(startMux, []byte{1})},
	{"START_MUX short", rec(startMux)},
	{"START_MUX too long", rec(startMux, []byte{2}, make([]byte, 16))},
}

var remoteViolations = []violation{ // by a remote
	{"RELEASED by the remote", rec(released, str8("xyz.relay.test"), []byte{1}, str16(""))},
	{"RELEASE short", rec(release, []byte{9, 'x'})},
	{"CLAIMED by the remote", rec(claimed, str8("xyz.relay.test"))},
	{"DENIED by the remote", rec(denied, str8("x"), u16(1), str16(""))},
	{"LOST by the remote", rec(lost, str8("x"), u16(1), str16(""))},
	{"START_MUX by the remote", rec(startMux, []byte{2})},
	{"CLAIM short", rec(claim, str8("xyz.relay.test"))},
	{"CLAIM too long", rec(claim, str8("x"), str16(""), big, big)},
	{"CLAIM of a name of 254 bytes", rec(claim, str8(strings.Repeat("x", 254)), str16(""))},
	{"CLAIM with a token of 1,025 bytes", rec(claim, str8("x"), str16(strings.Repeat("x", 1025)))},
}

var muxViolations = []violation{ // by both
	{"smux version 1", rec(muxRecord, smuxFrame(1, nop, 0))},
	{"smux command 9", frame(9, 0)},
	{"smux SYN with a payload", frame(syn, 99, []byte("x"))},
	{"smux FIN with a payload", frame(fin, 3, []byte("x"))},
	{"smux NOP with a payload", frame(nop, 0, []byte("x"))},
	{"smux UPD short", frame(upd, 3, make([]byte, 7))},
	{"link record inside MUX", rec(muxRecord, rec(ping, make([]byte, 8)))},
}

// Stream records that nobody may send, after the HEADER if it is the opener.
var streamViolations = []violation{
	{"HEADER again", goodHeader()},
	{"empty DATA", rec(dataRec)},
	{"DATA too long", rec(dataRec, make([]byte, 16<<10+1))},
	{"DATA after END", cat(rec(endRec), rec(dataRec, []byte("x")))},
	{"END twice", cat(rec(endRec), rec(endRec))},
	{"END too long", rec(endRec, []byte("x"))},
	{"RESET short", rec(resetRec, []byte{0})},
	{"RESET too long", rec(resetRec, make([]byte, 65))},
	{"END after RESET", cat(rec(resetRec, u16(0)), rec(endRec))},
	{"CREDIT after RESET", cat(rec(resetRec, u16(0)), rec(creditRec, u32(1)))},
	{"CREDIT short", rec(creditRec, make([]byte, 3))},
	{"CREDIT too long", rec(creditRec, make([]byte, 65))},
	{"CREDIT beyond MaxCredit", rec(creditRec, u32(framing.MaxCredit))},
	{"CREDIT beyond MaxCredit in steps", bytes.Repeat(rec(creditRec, u32(1<<20)), 16)},
	{"CREDIT of all bits", rec(creditRec, []byte{255, 255, 255, 255})},
	{"SWITCH where no lanes were agreed on", rec(switchRec, u64(0))},
	{"unknown type", rec(0x7f)},
	{"type zero", rec(0)},
	{"optional record too long", rec(0x80, big)},
	{"unknown optional record too long", rec(0xff, big)},
}

// What a relay may not begin a stream with.
var headerViolations = []violation{
	{"no HEADER", rec(dataRec, []byte("x"))},
	{"END before HEADER", rec(endRec)},
	{"RESET before HEADER", rec(resetRec, u16(0))},
	{"CREDIT before HEADER", rec(creditRec, u32(1))},
	{"optional record before HEADER", rec(0x80)},
	{"HEADER of nothing", rec(headerRec)},
	{"HEADER of noise", rec(headerRec, []byte("nothing that anybody knows"))},
	{"HEADER of PROXY version 1", rec(headerRec, []byte("PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n"))},
	{"HEADER of PROXY command LOCAL", rec(headerRec, proxyHeader(0, tlv(0x02, "xyz.relay.test")))},
	{"HEADER cut short", rec(headerRec, proxyHeader(1, tlv(0x02, "xyz.relay.test"))[:30])},
	{"HEADER without a name", rec(headerRec, proxyHeader(1))},
	{"HEADER with a name of 254 bytes", rec(headerRec, proxyHeader(1, tlv(0x02, strings.Repeat("x", 254))))},
	{"HEADER with a kind of two bytes", rec(headerRec, proxyHeader(1, tlv(0x02, "x"), tlv(0xE0, "\x00\x00")))},
	{"HEADER too long", rec(headerRec, proxyHeader(1, tlv(0x02, "x"), tlv(0xEA, string(make([]byte, 1000)))))},
}

// violated checks that the link has ended soon, and why.
func violated(t testing.TB, l *framing.Link) {
	t.Helper()
	took, err := wait(t, l)
	if !errors.Is(err, framing.ErrProtocol) {
		t.Errorf("the link ended with %v, want a protocol violation", err)
	}
	if took > time.Second {
		t.Errorf("the link ended after %v", took)
	}
}

// A named is a test that says in which case it failed.
type named struct {
	*testing.T
	name string
}

func (n named) Errorf(format string, args ...any) {
	n.T.Helper()
	n.T.Errorf(n.name+": "+format, args...)
}

// each runs all cases in one bubble.
func each(t *testing.T, name string, cases []violation, run func(testing.TB, []byte)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, v := range cases {
				run(named{t, v.name}, v.bytes)
			}
		})
	})
}

var early = violation{"MUX before START_MUX", frame(nop, 0)}

func TestRelayEndsLinkOnViolation(t *testing.T) {
	all := slices.Concat(linkViolations, remoteViolations)
	each(t, "link", append(slices.Clone(all), early), func(t testing.TB, bad []byte) {
		l, p := rawRemote(t, framing.Handler{})
		p.send(bad)
		violated(t, l)
	})
	session := slices.Concat(all, muxViolations, []violation{{"a stream opened by the remote", frame(syn, 2)}})
	each(t, "session", session, func(t testing.TB, bad []byte) {
		relayWithStream(t, func(uint32) []byte { return bad })
	})
	stream := slices.Concat(streamViolations, []violation{
		// A relay gives 1 MiB in its first CREDIT, so it takes 65 full records.
		{"DATA beyond the credit", bytes.Repeat(rec(dataRec, make([]byte, 16<<10)), 65)},
	})
	each(t, "stream", stream, func(t testing.TB, bad []byte) {
		relayWithStream(t, func(id uint32) []byte { return frames(id, bad) })
	})
}

// frames cuts the bytes of a stream into MUX records.
func frames(id uint32, b []byte) (out []byte) {
	for c := range slices.Chunk(b, 32<<10) {
		out = append(out, frame(psh, id, c)...)
	}
	return out
}

// relayWithStream has a relay with two streams, one of which answers, get bytes
// from its remote that break the protocol.
func relayWithStream(t testing.TB, bad func(id uint32) []byte) {
	l, p := rawRemote(t, framing.Handler{})
	other, err := l.Open(header, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	p.nextSYN()
	s, err := l.Open(header, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := p.nextSYN()
	p.discard()
	go func() {
		s.Read(make([]byte, 1))
		s.Write([]byte("x"))
	}()
	up(t, l)
	p.conn.Write(bad(id)) // the link may end in the middle of it
	violated(t, l)
	broken(t, other)
}

func TestRemoteEndsLinkOnViolation(t *testing.T) {
	all := slices.Concat(linkViolations, relayViolations)
	each(t, "link", append(slices.Clone(all), early), func(t testing.TB, bad []byte) {
		l, p := rawRelay(t, framing.Handler{})
		p.send(bad)
		violated(t, l)
	})
	session := slices.Concat(all, muxViolations, []violation{{"START_MUX twice", rec(startMux, []byte{2})}})
	each(t, "session", session, remoteWithStream)
	each(t, "header", headerViolations, func(t testing.TB, bad []byte) {
		remoteWithStream(t, cat(frame(syn, 5), frames(5, bad)))
	})
	stream := slices.Concat(streamViolations, []violation{
		{"DATA beyond the credit", cat(rec(dataRec, make([]byte, 16<<10)), rec(dataRec, []byte("x")))},
	})
	each(t, "stream", stream, func(t testing.TB, bad []byte) {
		remoteWithStream(t, cat(frame(syn, 5), frame(psh, 5, goodHeader()), frames(5, bad)))
	})
}

// remoteWithStream has a remote with a stream get bytes from its relay that
// break the protocol.
func remoteWithStream(t testing.TB, bad []byte) {
	l, p := rawRelay(t, framing.Handler{})
	p.send(rec(startMux, []byte{2}), frame(syn, 3), frame(psh, 3, goodHeader(), rec(dataRec, []byte("x"))))
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.discard()
	up(t, l)
	p.conn.Write(bad)
	violated(t, l)
	broken(t, other)
}

// Who breaks the protocol is told.
func TestViolationIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRemote(t, framing.Handler{})
		p.send(rec(0x7f))
		violated(t, l)
		b := p.expect(goAway)
		if code := b[:2]; !bytes.Equal(code, u16(int(framing.GoAwayProtocol))) {
			t.Errorf("GOAWAY with code %x", code)
		}
		if _, err := p.conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after GOAWAY: %v, want EOF", err)
		}
	})
}

// A broken hello ends the connection.
func TestBrokenHandshake(t *testing.T) {
	server := func(b []byte) error { return handshake(t, b, true) }
	client := func(b []byte) error { return handshake(t, b, false) }
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"relay gets PING", server(rec(ping, make([]byte, 8))), framing.ErrProtocol},
		{"relay gets HTTP", server([]byte("GET / HTTP/1.1\r\n\r\n")), framing.ErrProtocol},
		{"relay gets a short HELLO", server(rec(hello, make([]byte, 100))), framing.ErrProtocol},
		{"relay gets a long HELLO", server(rec(hello, make([]byte, 4097))), framing.ErrProtocol},
		{"relay gets nothing", server(nil), io.ErrUnexpectedEOF},
		{"relay gets half a HELLO", server(helloRecord()[:50]), io.ErrUnexpectedEOF},
		{"remote gets CLAIMED", client(rec(claimed, str8("x"))), framing.ErrProtocol},
		{"remote gets MUX", client(rec(muxRecord)), framing.ErrProtocol},
		{"remote gets a short WELCOME", client(rec(welcome, []byte{0})), framing.ErrProtocol},
		{"remote gets a short REFUSED", client(rec(refused, []byte{0})), framing.ErrProtocol},
		{"remote gets a long WELCOME", client(rec(welcome, make([]byte, 4097))), framing.ErrProtocol},
		{"remote gets nothing", client(nil), io.ErrUnexpectedEOF},
		{"remote gets half a WELCOME", client(welcomeRecord()[:9]), io.ErrUnexpectedEOF},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
}

// handshake is the error of a relay, or a remote, whose peer says b and ends.
func handshake(t *testing.T, b []byte, relay bool) error {
	a, p := memconn.Pipe(0)
	defer p.Close()
	p.Write(b)
	p.CloseWrite()
	var err error
	if relay {
		_, _, err = framing.Server(context.Background(), a)
	} else {
		_, _, err = framing.Client(context.Background(), a, framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64)}, framing.Handler{})
	}
	if _, e := a.Write(nil); e == nil {
		t.Error("the connection was not closed")
	}
	return err
}

// A remote that sends data for a stream which the relay is about to open: a
// relay knows who opens, from the first moment at which data can come.
func TestDataForTheNextStream(t *testing.T) {
	relay, p := rawRemote(t, framing.Handler{})
	p.discard()
	if _, err := relay.Open(header, nil); err != nil {
		t.Fatal(err)
	}
	early := frame(psh, 5, goodHeader())
	go func() {
		for {
			if _, err := p.conn.Write(early); err != nil {
				return
			}
		}
	}()
	relay.Open(header, nil) // perhaps on a link that is over
	<-relay.Done()
	if err := relay.Err(); !errors.Is(err, framing.ErrProtocol) {
		t.Errorf("the link ended with %v, want a protocol violation", err)
	}
}
