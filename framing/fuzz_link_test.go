package framing_test

import (
	"context"
	"io"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// FuzzLink has a live end of a link, with streams that are used, hear whatever
// the input says: whole records and frames, right and wrong, and noise. It must
// not panic or hang, must end once its connection does, and with an error.
func FuzzLink(f *testing.F) {
	f.Add([]byte{0, 1, 3, 2, 2, 1, 2, 9, 7, 7, 7, 7, 7, 7, 7, 7, 0})
	f.Add([]byte{1, 4, 6, 6, 3, 2, 4, 8, 0, 0, 0, 1, 9, 10, 11, 12, 5, 1, 200, 0, 0, 0, 0})
	f.Add([]byte{1, 4, 6, 6, 8, 3, 0, 8, 4, 2, 0, 0, 8, 1, 3, 0, 13})
	f.Add([]byte{4, 2, 7, 2, 8, 2, 9, 2, 10, 2, 0, 2, 8})
	f.Add([]byte{5, 2, 11, 2, 12, 2, 13, 7, 0})
	f.Add([]byte{0, 4, 8, 3, 0, 8, 2, 200, 9, 8, 6, 0, 1, 2, 16, 8, 20, 2, 0, 0})
	f.Add([]byte{8, 6, 4, 0, 8, 4, 0, 1, 0, 0, 6, 4, 1, 8, 4, 0, 0, 0, 1}) // RETURN to a relay that knows it
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		script, relay := script(in[1:]), in[0]%2 == 0
		hand := handMade{minor: in[0] / 2 % (framing.Minor + 1), capabilities: int(in[0]/8%2) * framing.CapabilityReturn, handler: framing.Handler{Claim: grantAll,
			Release: func(context.Context, string) error { return nil }}}
		l, p := hand.relay(t)
		if relay {
			l, p = hand.remote(t)
		}
		b := p.conn
		go io.Copy(io.Discard, b)
		var mine []*framing.Stream
		for len(script) > 0 && l.Err() == nil {
			s := script.play(l, b, len(mine), relay)
			if s != nil {
				mine = append(mine, s)
			} else if len(mine) > 0 {
				poke(mine[int(script.next())%len(mine)], script.next())
			}
		}
		b.Close()
		select {
		case <-l.Done():
		case <-time.After(time.Minute):
			t.Fatal("the link did not end with its connection")
		}
		if l.Err() == nil {
			t.Error("the link ended without an error")
		}
		for _, s := range mine {
			s.Close()
		}
	})
}

// poke does something with a stream that cannot block.
func poke(s *framing.Stream, how byte) {
	s.SetDeadline(time.Now().Add(time.Microsecond))
	switch how % 6 {
	case 0:
		s.Read(make([]byte, 1000))
	case 1:
		s.Write(make([]byte, 5000))
	case 2:
		s.CloseWrite()
	case 3:
		s.Reset()
	case 4:
		s.Close()
	case 5:
		s.Broken()
	}
}

// A script is bytes that say what the other end does.
type script []byte

func (s *script) next() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) take(n int) []byte {
	n = min(n, len(*s))
	b := (*s)[:n]
	*s = (*s)[n:]
	return b
}

// play sends what the next bytes say. It may return a new stream, or nil.
func (s *script) play(l *framing.Link, b *memconn.Conn, have int, relay bool) *framing.Stream {
	b.SetWriteDeadline(time.Now().Add(time.Minute))
	switch s.next() % 8 {
	case 0: // noise
		b.Write(s.take(int(s.next())))
	case 1: // a link record
		b.Write(rec(s.next()%0x40, s.take(int(s.next())%40)))
	case 2: // one that is right
		all := [][]byte{pingByHand, claimByHand, goAwayByHand, rec(0x13), rec(0x11, pingByHand[3:]), rec(0x90), rec(0x20, []byte{2}),
			rec(claim, str8("y"), str16(""), []byte{0}, str16("")), rec(claim, str8("x"), str16(""), []byte{0}, str16("\x00\x18\x04\xc0\x00\x02\x00")),
			rec(release, str8("x")), rec(release, str8("y")), rec(claimed, str8("x"), u32(9)),
			rec(denied, str8("x"), u16(9), str16("no"), str16("do"), u32(9)), rec(released, str8("x"), []byte{1}, str16("")),
			rec(nodes, str8("a"), str16(string(nodeByHand("a")))), rec(nodes, str8("a"), str16("\x00\x02"))}
		b.Write(all[int(s.next())%len(all)])
	case 3: // a frame of smux
		b.Write(frame(s.next()%5, s.id(), s.take(int(s.next())%40)))
	case 4: // a stream record
		rec := rec([]byte{0, 1, 2, 3, 4, 5, 6, 7, 0x80}[s.next()%9], s.take(int(s.next())%40))
		b.Write(frame(2, s.id(), rec))
	case 5: // DATA, long
		b.Write(frame(2, s.id(), rec(0x02, make([]byte, int(s.next())<<6+1))))
	case 6: // a new stream
		if have > 50 {
			return nil
		}
		if relay {
			stream, _ := l.Open(header, s.take(int(s.next())))
			return stream
		}
		id := s.id()
		b.Write(rec(0x20, []byte{2}))
		b.Write(frame(0, id))
		b.Write(frame(2, id, goodHeader()))
	case 7: // the link's own acts
		if relay {
			l.Revoke(framing.Denial{Name: "x"})
			l.TellNodes(someNodes)
		} else if s.next()%4 == 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			defer cancel()
			l.Claim(ctx, framing.Claim{Name: "x"})
			l.Release(ctx, "x")
		} else if l.NumStreams() > 0 && s.next()%2 == 0 {
			return accepted(l)
		}
	}
	return nil
}

// id is a stream's id of a few, so that they meet.
func (s *script) id() uint32 { return uint32(s.next()%4)*2 + 3 }

// accepted waits a moment for a stream.
func accepted(l *framing.Link) *framing.Stream {
	got := make(chan *framing.Stream, 1)
	go func() {
		s, _ := l.Accept()
		got <- s
	}()
	select {
	case s := <-got:
		return s
	case <-time.After(time.Millisecond):
		return nil // the goroutine ends with the link
	}
}
