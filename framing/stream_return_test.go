package framing_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

const returnRec = 0x80

// quietTime is after how long a stream that is left alone has no more credit than
// InitialCredit.
const quietTime = 5 * time.Second

// returningLinks are links of a relay and a remote that give credit back, with a way
// between them that takes delay.
func returningLinks(t *testing.T, delay time.Duration) (relay, remote *framing.Link) {
	t.Helper()
	relay, remote, _ = slowLinksWith(t, delay, framing.CapabilityReturn)
	return relay, remote
}

// After a while quiet visitors take nothing: 1 MB comes in one go beside any number of
// them, on a new connection and on one of theirs.
func TestVisitorsThatAreQuietForLongTakeNothing(t *testing.T) {
	const way = 20 * time.Millisecond
	for _, quiet := range []int{1, 100, 300} {
		synctest.Test(t, func(t *testing.T) {
			relay, remote := returningLinks(t, way)
			var v, d *framing.Stream
			for range quiet {
				v, d = page(t, relay, remote)
			}
			time.Sleep(quietTime)
			if used := framing.PoolUsed(relay); used != 0 {
				t.Errorf("beside %d: %d bytes of the pool are taken", quiet, used)
			}
			for range 3 { // the last of them is asked again and again
				request(t, v, d)
				if took := transfer(t, d, v); took > way+time.Millisecond {
					t.Errorf("beside %d: 1 MB on one of them in %v", quiet, took)
				}
				time.Sleep(quietTime)
			}
			v, d = open(t, relay, remote, "x")
			if took := transfer(t, d, v); took > way+time.Millisecond {
				t.Errorf("beside %d: 1 MB on a new one in %v", quiet, took)
			}
		})
	}
}

// request sends a byte from the visitor, and waits until it has come.
func request(t *testing.T, v, d *framing.Stream) {
	t.Helper()
	v.Write([]byte("x"))
	if _, err := io.ReadFull(d, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// What has given its credit back goes on, however often it does: asked for little each
// time, and unasked.
func TestStreamThatHasGivenCreditBackGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote := returningLinks(t, time.Millisecond)
		v, d := open(t, relay, remote, "")
		for range 200 { // more than creditBurst
			request(t, v, d)
			go d.Write(make([]byte, 10))
			if _, err := io.CopyN(io.Discard, v, 10); err != nil {
				t.Fatal(err)
			}
			time.Sleep(quietTime)
			if framing.PoolUsed(relay) != 0 {
				t.Fatal("it has not given its credit back")
			}
		}
		for range 3 {
			transfer(t, d, v) // unasked
			time.Sleep(quietTime)
		}
		up(t, relay, remote)
	})
}

// Credit that a sender waits for, or that came just now, is not given back.
func TestCreditInUseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote := returningLinks(t, time.Millisecond)
		v, d := open(t, relay, remote, "")
		for range 20 {
			d.Write([]byte("tick"))
			time.Sleep(time.Second)
		}
		if framing.PoolUsed(relay) == 0 {
			t.Error("a stream that sends each second has lost its credit")
		}
		go d.Write(make([]byte, 4<<20)) // nobody reads
		time.Sleep(quietTime)
		if _, err := io.CopyN(io.Discard, v, 20*4+4<<20); err != nil {
			t.Error(err)
		}
		time.Sleep(quietTime)
		go d.Write(make([]byte, 300_000))
		time.Sleep(quietTime) // it is read late, and the rest given back
		if _, err := io.CopyN(io.Discard, v, 300_000); err != nil {
			t.Error(err)
		}
		d.Close()
		v.Close()
		time.Sleep(time.Minute)
		if n, used := relay.NumStreams(), framing.PoolUsed(relay); n != 0 || used != 0 {
			t.Errorf("%d streams and %d bytes of the pool are left", n, used)
		}
		up(t, relay, remote)
	})
}

// RETURN, byte for byte, and that nothing else is said for it.
func TestReturnOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{capabilities: framing.CapabilityReturn}.relay(t)
		p.send(rec(startMux, []byte{2}), frame(syn, 3), frame(psh, 3, goodHeader(), rec(creditRec, u32(0x10203))))
		d, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		d.Write([]byte("hello"))
		want := [][]byte{
			{0x21, 0, 16, 2, 2, 8, 0, 3, 0, 0, 0, 0x02, 0, 5, 'h', 'e', 'l', 'l', 'o'},
			{0x21, 0, 15, 2, 2, 7, 0, 3, 0, 0, 0, 0x80, 0, 4, 0, 1, 0x01, 0xfe}, // 0x10203 - 5
		}
		for _, w := range want {
			kind, b := byte(ping), []byte(nil)
			for kind == ping {
				kind, b = p.next()
			}
			if got := rec(kind, b); !bytes.Equal(got, w) {
				t.Errorf("got  % x\nwant % x", got, w)
			}
		}
		p.discard()
		time.Sleep(time.Second)
		p.send(frame(psh, 3, rec(endRec)))
		up(t, l)
	})
}

// A relay grants along with a request what a stream has given back, and bytes of the
// protocol come the right way from one that is cut in pieces.
func TestRelayGrantsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{capabilities: framing.CapabilityReturn}.remote(t)
		v, err := l.Open(header, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		_, b := p.next() // HEADER and the first CREDIT
		first := int(binary.BigEndian.Uint32(b[len(b)-4:]))
		for _, c := range rec(returnRec, u32(first), []byte("what a later version adds")) {
			p.send(frame(psh, id, []byte{c}))
		}
		synctest.Wait()
		if used := framing.PoolUsed(l); used != 0 {
			t.Errorf("%d bytes of the pool are taken", used)
		}
		v.Write([]byte("x"))
		if got, want := p.expect(muxRecord), smuxFrame(2, psh, id, rec(dataRec, []byte("x")), rec(creditRec, u32(first))); !bytes.Equal(got, want) {
			t.Errorf("got  % x\nwant % x", got, want)
		}
		v.Write([]byte("y"))
		if got, want := p.expect(muxRecord), smuxFrame(2, psh, id, rec(dataRec, []byte("y"))); !bytes.Equal(got, want) {
			t.Errorf("got  % x\nwant % x", got, want)
		}
		p.discard()
		up(t, l)
	})
}

// A remote that gives back what it has not, or in the wrong place, ends the link.
func TestRelayEndsLinkOnWrongReturn(t *testing.T) {
	all := framing.InitialCredit + framing.MaxWindow // the first stream on the link
	each(t, "RETURN", []violation{
		{"of nothing", rec(returnRec, u32(0))},
		{"of more than was granted", rec(returnRec, u32(all+1))},
		{"of all bits", rec(returnRec, []byte{255, 255, 255, 255})},
		{"twice", cat(rec(returnRec, u32(all)), rec(returnRec, u32(1)))},
		{"of what is used", cat(rec(dataRec, []byte("x")), rec(returnRec, u32(all)))},
		{"and use of it", cat(rec(returnRec, u32(all)), rec(dataRec, []byte("x")))},
		{"short", rec(returnRec, make([]byte, 3))},
		{"too long", rec(returnRec, make([]byte, 65))},
		{"after END", cat(rec(endRec), rec(returnRec, u32(1)))},
		{"after RESET", cat(rec(resetRec, u16(0)), rec(returnRec, u32(1)))},
	}, func(t testing.TB, bad []byte) {
		l, p := handMade{capabilities: framing.CapabilityReturn}.remote(t)
		if _, err := l.Open(header, nil); err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		p.discard()
		p.conn.Write(frames(id, bad))
		violated(t, l)
	})
}

// Where the two sides have not agreed on it, and at a remote, RETURN is an optional
// record as any other.
func TestReturnThatWasNotAgreedOnIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{}.remote(t)
		v, err := l.Open(header, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		p.discard()
		p.send(frames(id, cat(rec(returnRec, u32(1<<30)), rec(returnRec, big[:4096]), rec(dataRec, []byte("x")), rec(endRec), rec(returnRec, u32(1)))))
		if got, err := io.ReadAll(v); string(got) != "x" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		up(t, l)

		l, p = handMade{capabilities: framing.CapabilityReturn}.relay(t)
		p.send(rec(startMux, []byte{2}), frame(syn, 3), frame(psh, 3, goodHeader(), rec(returnRec, u32(1<<30)), rec(creditRec, u32(1<<20)), rec(endRec)))
		p.discard()
		d, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(d); len(got) > 0 || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		up(t, l)
	})
}

// To a relay that does not know it, no RETURN is sent: it would wait for that credit to
// be used.
func TestOldRelayGetsNoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _ := slowLinks(t, time.Millisecond)
		v, d := open(t, relay, remote, "")
		time.Sleep(10 * quietTime)
		if framing.PoolUsed(relay) == 0 {
			t.Error("credit was given back")
		}
		transfer(t, d, v)
	})
}

// A stream whose data waits to be written is in use.
func TestStreamWhoseDataWaitsKeepsItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(1 << 10)
		relay, remote := linksWith(t, a, b, framing.Handler{}, framing.Handler{}, framing.CapabilityReturn)
		v, d := open(t, relay, remote, "")
		synctest.Wait()
		framing.HoldLink(remote)
		d.Write([]byte("answer"))
		time.Sleep(quietTime)
		if framing.PoolUsed(relay) == 0 {
			t.Error("a stream with data that waits has given its credit back")
		}
		framing.ReleaseLink(remote)
		if _, err := io.ReadFull(v, make([]byte, 6)); err != nil {
			t.Error(err)
		}
		time.Sleep(quietTime)
		if used := framing.PoolUsed(relay); used != 0 {
			t.Errorf("%d bytes of the pool are taken", used)
		}
	})
}
