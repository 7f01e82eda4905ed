package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"keystay/framing"
)

// content is an endless text of which every eight bytes tell whose they are
// and where they belong.
type content struct {
	id uint64 // stream and direction
	at uint64
}

func (c *content) word(n uint64) (w [8]byte) {
	x := (c.id<<40 + n) * 0x9E3779B97F4A7C15
	binary.LittleEndian.PutUint64(w[:], x^x>>29)
	return w
}

// peek fills p with what comes next.
func (c *content) peek(p []byte) {
	for at := c.at; len(p) > 0; {
		w := c.word(at / 8)
		n := copy(p, w[at%8:])
		at, p = at+uint64(n), p[n:]
	}
}

// check tells whether p is what comes next, and goes on behind it.
func (c *content) check(p []byte) error {
	want := make([]byte, len(p))
	c.peek(want)
	if !bytes.Equal(p, want) {
		return fmt.Errorf("stream %x: bytes of another stream or place after %d", c.id, c.at)
	}
	c.at += uint64(len(p))
	return nil
}

// Buffers are pooled and shared by all streams. Whatever happens to a stream,
// be it a deadline in the middle of a write, a close or a reset, no byte of it
// ever shows up in another one.
func TestBuffersDoNotCross(t *testing.T) {
	relay, remote := tcpLinks(t, newTLSRig(t))
	const workers = 16
	each := 4 * rounds()
	devices := make(chan *framing.Stream)
	var wg sync.WaitGroup
	go func() {
		defer close(devices)
		for {
			d, err := remote.Accept()
			if err != nil {
				return
			}
			devices <- d
		}
	}()
	go func() {
		for d := range devices {
			wg.Go(func() {
				id := d.Header().ID
				use(t, d, binary.BigEndian.Uint64(id[:]), 1)
			})
		}
	}()
	var visitors sync.WaitGroup
	for w := range workers {
		visitors.Go(func() {
			for r := range each {
				id := uint64(1 + w*each + r)
				h := header
				binary.BigEndian.PutUint64(h.ID[:], id)
				first := make([]byte, 300)
				(&content{id: id << 1}).peek(first)
				v, err := relay.Open(h, first)
				if err != nil {
					t.Error(err)
					return
				}
				use(t, v, id, 0)
			}
		})
	}
	visitors.Wait()
	if err := errors.Join(relay.Err(), remote.Err()); err != nil {
		t.Error(err)
	}
	relay.Close()
	remote.Close()
	<-remote.Done()
	for range devices {
	}
	wg.Wait()
}

// use reads and writes a stream for a while, and ends it in one way or another.
func use(t *testing.T, s *framing.Stream, id, side uint64) {
	rng := rand.New(rand.NewPCG(id, side))
	out, in := &content{id: id<<1 | side}, &content{id: id<<1 | 1 - side}
	if side == 0 {
		out.at = 300
	}
	end := [...]func() error{s.Close, s.Reset, s.CloseWrite, s.Refuse}[rng.IntN(4)]
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1+rng.IntN(40_000))
		for {
			n, err := s.Read(buf)
			if cerr := in.check(buf[:n]); cerr != nil {
				t.Error(cerr)
				return
			}
			if err != nil {
				return
			}
		}
	})
	writes := rand.New(rand.NewPCG(id, side+2))
	for range 1 + writes.IntN(30) {
		buf := make([]byte, 1+writes.IntN(60_000))
		out.peek(buf)
		s.SetWriteDeadline(time.Now().Add(time.Duration(writes.IntN(2000)) * time.Microsecond))
		n, err := s.Write(buf)
		clear(buf) // the caller's buffer is the caller's again
		out.at += uint64(n)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	if err := end(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.As(err, new(*framing.ResetError)) {
		t.Errorf("end: %v", err)
	}
	s.SetReadDeadline(time.Now().Add(time.Minute))
	wg.Wait()
	s.Close()
}
