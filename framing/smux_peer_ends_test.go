package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/xtaci/smux"

	"keystay/framing"
)

// A stock is one end of a stream on smux's own code, with the stream records of
// PROTOCOL.md above it. It grants again what it is sent, and minds the credit it
// has.
type stock struct {
	sm   *smux.Stream
	lazy bool // it grants nothing

	mu     sync.Mutex
	room   sync.Cond
	credit int
	data   []byte
	ended  bool // END has come
	reset  bool // RESET has come
}

func newStock(sm *smux.Stream, lazy bool) *stock {
	s := &stock{sm: sm, lazy: lazy, credit: 16 << 10}
	s.room.L = &s.mu
	go s.receive()
	return s
}

// receive takes records to the end of the smux stream.
func (s *stock) receive() {
	for {
		var h [3]byte
		if _, err := io.ReadFull(s.sm, h[:]); err != nil {
			return
		}
		p := make([]byte, binary.BigEndian.Uint16(h[1:]))
		if _, err := io.ReadFull(s.sm, p); err != nil {
			return
		}
		s.mu.Lock()
		switch h[0] {
		case dataRec:
			s.data = append(s.data, p...)
			if !s.lazy {
				s.sm.Write(rec(creditRec, u32(len(p))))
			}
		case creditRec:
			s.credit += int(binary.BigEndian.Uint32(p))
		case endRec:
			s.ended = true
		case resetRec:
			s.reset = true
		}
		s.room.Broadcast()
		s.mu.Unlock()
	}
}

// write sends p as DATA.
func (s *stock) write(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), s.credit, 16<<10)
		if n == 0 {
			s.room.Wait()
			continue
		}
		s.credit -= n
		s.sm.Write(rec(dataRec, p[:n]))
		p = p[n:]
	}
}

func (s *stock) end() { s.sm.Write(rec(endRec)) }

// until waits until done reports true.
func (s *stock) until(done func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !done() {
		s.room.Wait()
	}
}

// An ends is a stream of ours and the other end of it, on smux's own code.
type ends struct {
	ours  *framing.Stream
	stock *stock
}

// eachEnd runs f with smux at the remote, and at the relay. open opens a stream.
func eachEnd(t *testing.T, f func(t *testing.T, open func(lazy bool) ends)) {
	t.Run("smux at the remote", func(t *testing.T) {
		relay, p := rawRemote(t, framing.Handler{})
		session, err := smux.Server(&muxPipe{ReadWriteCloser: p.conn}, smuxConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		f(t, func(lazy bool) ends {
			v, err := relay.Open(header, nil)
			if err != nil {
				t.Fatal(err)
			}
			sm, err := session.AcceptStream()
			if err != nil {
				t.Fatal(err)
			}
			return ends{v, newStock(sm, lazy)}
		})
	})
	t.Run("smux at the relay", func(t *testing.T) {
		remote, p := rawRelay(t, framing.Handler{})
		p.send(rec(startMux, []byte{2}))
		session, err := smux.Client(&muxPipe{ReadWriteCloser: p.conn}, smuxConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		f(t, func(lazy bool) ends {
			sm, err := session.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			sm.Write(goodHeader())
			d, err := remote.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return ends{d, newStock(sm, lazy)}
		})
	})
}

// Many streams at once carry more than any first window, both ways.
func TestSmuxCarriesManyStreams(t *testing.T) {
	data := randomBytes(600 << 10) // more than smux's first window and receive buffer for a stream
	eachEnd(t, func(t *testing.T, open func(bool) ends) {
		var wg sync.WaitGroup
		for range 12 {
			e := open(false)
			wg.Go(func() {
				e.ours.Write(data)
				e.ours.CloseWrite()
			})
			wg.Go(func() {
				e.stock.write(data)
				e.stock.end()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(e.ours); err != nil || !bytes.Equal(got, data) {
					t.Errorf("from smux: %d bytes of %d, %v", len(got), len(data), err)
				}
				e.stock.until(func() bool { return e.stock.ended })
				if !bytes.Equal(e.stock.data, data) {
					t.Errorf("to smux: %d bytes of %d", len(e.stock.data), len(data))
				}
				e.stock.sm.Close()
				e.ours.Close()
			})
		}
		wg.Wait()
	})
}

// An end in one direction leaves the other as it is, whichever comes first.
func TestSmuxHalfClose(t *testing.T) {
	data := randomBytes(300 << 10)
	eachEnd(t, func(t *testing.T, open func(bool) ends) {
		e := open(false)
		e.ours.CloseWrite()
		e.stock.until(func() bool { return e.stock.ended })
		go func() {
			e.stock.write(data)
			e.stock.end()
		}()
		if got, err := io.ReadAll(e.ours); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after our end: %d bytes of %d, %v", len(got), len(data), err)
		}
		e.ours.Close()

		e = open(false)
		e.stock.end()
		if got, err := io.ReadAll(e.ours); err != nil || len(got) > 0 {
			t.Errorf("%d bytes and %v, want an end", len(got), err)
		}
		if _, err := e.ours.Write(data); err != nil {
			t.Error(err)
		}
		e.ours.CloseWrite()
		e.stock.until(func() bool { return e.stock.ended })
		if !bytes.Equal(e.stock.data, data) {
			t.Errorf("after its end: %d bytes of %d", len(e.stock.data), len(data))
		}
		e.ours.Close()
	})
}

// A sender minds the credit, also where smux's window is open.
func TestSmuxPeerIsSentNoMoreThanItGrants(t *testing.T) {
	eachEnd(t, func(t *testing.T, open func(bool) ends) {
		e := open(true)
		sent := make(chan error, 1)
		go func() {
			_, err := e.ours.Write(make([]byte, 20<<10))
			sent <- err
		}()
		e.stock.until(func() bool { return len(e.stock.data) == 16<<10 })
		other := open(false) // what is sent after that comes after that
		other.ours.Write([]byte("x"))
		other.stock.until(func() bool { return len(other.stock.data) == 1 })
		e.stock.until(func() bool { return true })
		if len(e.stock.data) != 16<<10 {
			t.Errorf("%d bytes were sent with 16 KiB of credit", len(e.stock.data))
		}
		e.stock.sm.Write(rec(creditRec, u32(4<<10)))
		e.stock.until(func() bool { return len(e.stock.data) == 20<<10 })
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// A reset is told as one, either way, and what smux alone ends was cut off.
func TestSmuxReset(t *testing.T) {
	eachEnd(t, func(t *testing.T, open func(bool) ends) {
		e := open(false)
		e.ours.Reset()
		e.stock.until(func() bool { return e.stock.reset || e.stock.ended })
		if !e.stock.reset {
			t.Error("the other side of a reset stream saw its end")
		}
		e.stock.sm.Close()

		e = open(false)
		e.stock.sm.Write(rec(resetRec, u16(int(framing.ResetRefused))))
		var r *framing.ResetError
		if _, err := e.ours.Read(make([]byte, 1)); !errors.As(err, &r) || r.Code != framing.ResetRefused {
			t.Errorf("read %v, want the reset", err)
		}

		for name, cut := range map[string]func(*smux.Stream) error{"Close": (*smux.Stream).Close, "CloseWrite": func(s *smux.Stream) error { return s.CloseWrite() }} {
			e = open(false)
			e.stock.write([]byte("half of"))
			cut(e.stock.sm)
			if _, err := io.ReadAll(e.ours); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %s alone: %v, want that it was cut off", name, err)
			}
			e.ours.Close()
		}
	})
}
