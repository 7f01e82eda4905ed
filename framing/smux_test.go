package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A remote that reads hardly anything cannot make the relay keep what there was
// no credit for: not on a stream that lives, which ends the link, nor on one
// that has ended, where it is thrown away.
func TestBacklogIsBounded(t *testing.T) {
	for name, before := range map[string][]byte{
		"while the stream lives": rec(0x05, []byte{0, 0, 0, 1}),
		"after its end":          rec(0x04, []byte{0, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, b := stalledRemote(t)
				b.Write(frame(2, 3, before))
				if name == "after its end" {
					b.Write(frame(1, 3))
				}
				sent, kept := 0, heap()
				for frame := frame(2, 3, make([]byte, 16<<10)); sent < 1<<26; sent += len(frame) {
					if _, err := b.Write(frame); err != nil {
						break
					}
				}
				if kept = heap() - kept; kept > 8<<20 {
					t.Errorf("the relay keeps %d MiB of a stream with 1 MiB of credit", kept>>20)
				}
				_, err := hear(t, relay)
				if name != "after its end" && (!errors.Is(err, framing.ErrProtocol) || sent > 8<<20) {
					t.Errorf("the link ended with %v after %d bytes, want a protocol violation", err, sent)
				}
			})
		})
	}
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// stalledRemote returns a relay's link with a visitor that sends all it can,
// and the other end, which reads 100 bytes a second.
func stalledRemote(t *testing.T) (*framing.Link, *memconn.Conn) {
	relay, b := bareRemote(t, 1<<10)
	go relay.Open(header, make([]byte, 64<<10))
	go func() {
		for {
			select {
			case <-time.After(time.Second):
				b.Read(make([]byte, 100))
			case <-relay.Done():
				return
			}
		}
	}()
	<-time.After(time.Second)
	return relay, b
}

// Streams that have ended and that nobody reads hold what was sent on them, and
// so the pool. Others still get their share, and all of it is given back.
func TestPoolHeldByEndedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		var unread []*framing.Stream
		for range 600 {
			v, d := open(t, relay, remote, "")
			d.SetWriteDeadline(time.Now().Add(time.Second))
			d.Write(make([]byte, 1<<20)) // as much as there is credit for
			d.CloseWrite()
			v.CloseWrite()
			unread = append(unread, v)
		}
		v, d := open(t, relay, remote, "")
		data := randomBytes(1 << 20)
		go func() {
			d.Write(data)
			d.Close()
		}()
		if got, err := io.ReadAll(v); err != nil || !bytes.Equal(got, data) {
			t.Errorf("beside 600 ended streams: %d bytes, %v", len(got), err)
		}
		v.Close()
		held := framing.PoolUsed(relay)
		for _, v := range unread {
			v.Close()
		}
		t.Logf("the ended streams held %d KiB of the pool", held>>10)
		settled(t, relay)
		remote.Close()
	})
}

// A peer that minds smux's window is told what was taken, before it is used up.
func TestWindowIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRemote(t, framing.Handler{})
		v, err := l.Open(header, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		go io.Copy(io.Discard, v)
		window, taken := 256<<10, 0
		go func() {
			for {
				var h [3]byte
				if _, err := io.ReadFull(p.conn, h[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(h[1:]))
				io.ReadFull(p.conn, b)
				if h[0] == muxRecord && b[1] == upd && binary.LittleEndian.Uint32(b[4:]) == id {
					taken, window = int(binary.LittleEndian.Uint32(b[8:])), int(binary.LittleEndian.Uint32(b[12:]))
				}
			}
		}()
		for sent := 0; sent < 8<<20; {
			p.send(frame(psh, id, rec(dataRec, make([]byte, 16<<10))))
			sent += 16<<10 + 3
			synctest.Wait()
			if sent-taken > window || taken > sent {
				t.Fatalf("%d bytes sent and %d taken, in a window of %d", sent, taken, window)
			}
		}
		if taken < 6<<20 {
			t.Errorf("only %d bytes were taken", taken)
		}
		l.Close()
	})
}

// Frames are found however the MUX records cut them.
func TestFramesAreCutAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRelay(t, framing.Handler{})
		stream := cat(smuxFrame(2, syn, 3), smuxFrame(2, psh, 3, goodHeader()), smuxFrame(2, upd, 3, make([]byte, 8)),
			smuxFrame(2, psh, 3, rec(dataRec, []byte("hello "))), smuxFrame(2, psh, 5, []byte("for nobody")),
			smuxFrame(2, psh, 3, rec(dataRec, []byte("world")), rec(endRec)))
		p.discard()
		p.send(rec(startMux, []byte{2}))
		bytewise := func(stream []byte) {
			for _, b := range stream {
				p.send(rec(muxRecord, []byte{b}))
			}
		}
		bytewise(stream)
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
		bytewise(smuxFrame(2, fin, 3)) // not before both directions have ended
		if got, err := io.ReadAll(s); err != nil || string(got) != "hello world" {
			t.Errorf("got %q, %v", got, err)
		}
		s.Close()
	})
}

// A smux id is not opened twice.
func TestStreamOpenedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRelay(t, framing.Handler{})
		p.discard()
		p.conn.Write(cat(rec(startMux, []byte{2}), frame(syn, 3), frame(syn, 3)))
		if _, err := wait(t, l); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("the link ended with %v", err)
		}
	})
}
