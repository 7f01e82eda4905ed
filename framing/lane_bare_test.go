package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// tlsRecord is a record of TLS with n bytes in it.
func tlsRecord(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{byte(n)}, n)...)
}

// A cutConn is a connection that gives its bytes in pieces of the given sizes,
// in turn; at a size of 0 the deadline passes.
type cutConn struct {
	net.Conn // nil
	in       []byte
	cuts     []byte
	most     int // the most that was asked for in one Read
}

func (c *cutConn) Read(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	n := len(p)
	if len(c.cuts) > 0 {
		n = int(c.cuts[0])
		c.cuts = c.cuts[1:]
		if n == 0 {
			return 0, os.ErrDeadlineExceeded
		}
	}
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n = copy(p[:min(n, len(p))], c.in)
	c.in = c.in[n:]
	return n, nil
}

// A TLSRecordConn gives all bytes as they are, and takes none from below before
// those of its record have been asked for.
func TestTLSRecordConn(t *testing.T) {
	all := cat(tlsRecord(1), tlsRecord(0), tlsRecord(300), tlsRecord(16<<10+256), tlsRecord(0), tlsRecord(2))
	for _, size := range []int{1, 2, 4, 5, 6, 7, 100, 4096, 1 << 20} {
		c := &cutConn{in: all}
		r := &framing.TLSRecordConn{Conn: c}
		got := readRecords(t, r, c, len(all), func(int) int { return size })
		if !bytes.Equal(got, all) {
			t.Errorf("in reads of %d bytes other bytes came out", size)
		}
		if n, err := r.Read(nil); n != 0 || err != nil {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	for n := 1; n < 5; n++ { // in the header
		r := &framing.TLSRecordConn{Conn: &cutConn{in: cat(tlsRecord(7), all[:n])}}
		if b, err := io.ReadAll(r); err != io.ErrUnexpectedEOF || !bytes.Equal(b, tlsRecord(7)) {
			t.Errorf("an end after %d bytes of a header: %x, %v", n, b, err)
		}
	}
	c := &framing.TLSRecordConn{Conn: &cutConn{}}
	if c.NetConn() != c.Conn {
		t.Error("NetConn is another")
	}
	if err := c.CloseWrite(); !errors.Is(err, framing.ErrNotBare) {
		t.Errorf("CloseWrite of what has none: %v", err)
	}
	a, b := memconn.Pipe(0)
	if err := (&framing.TLSRecordConn{Conn: a}).CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after CloseWrite: %v", err)
	}
}

// readRecords reads to the end, size(i) bytes at most at a time, past deadlines.
// It checks each time that nothing of a further record is gone from c.
func readRecords(t *testing.T, r *framing.TLSRecordConn, c *cutConn, total int, size func(int) int) (got []byte) {
	t.Helper()
	all := bytes.Clone(c.in)
	for i := 0; ; i++ {
		p := make([]byte, size(i))
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		if limit := recordEnd(all, len(got)); total-len(c.in) > limit {
			t.Fatalf("after %d bytes %d were taken, beyond the record's end at %d", len(got), total-len(c.in), limit)
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
	}
}

// recordEnd is how many bytes may have been taken from b by one that was asked
// for n and a further byte: up to the end of the record with that byte, or of
// its header if none of what follows that has been asked for.
func recordEnd(b []byte, n int) int {
	for at := 0; ; {
		if n < at+5 || at+5 > len(b) {
			return at + 5
		}
		end := at + 5 + int(binary.BigEndian.Uint16(b[at+3:]))
		if n < end {
			return end
		}
		at = end
	}
}

// However the bytes come, whatever they are, and however they are asked for, a
// TLSRecordConn gives all of them in order and never takes more than a record.
func FuzzTLSRecordConn(f *testing.F) {
	f.Add(cat(tlsRecord(1), tlsRecord(0), tlsRecord(20)), []byte{1, 0, 2, 0, 0, 9}, []byte{3, 1, 255})
	f.Add(tlsRecord(300), bytes.Repeat([]byte{1, 0}, 300), []byte{1})
	f.Add([]byte{23, 3, 3}, []byte{}, []byte{})
	f.Add([]byte{23, 3, 3, 255, 255, 1}, []byte{4, 1, 0, 1}, []byte{5})
	f.Fuzz(func(t *testing.T, in, cuts, sizes []byte) {
		c := &cutConn{in: in, cuts: cuts}
		got := readRecords(t, &framing.TLSRecordConn{Conn: c}, c, len(in), func(i int) int {
			if len(sizes) == 0 {
				return 4096
			}
			return 1 + int(sizes[i%len(sizes)])
		})
		// Of a header that is cut short nothing comes out.
		want := len(in)
		if over := recordEnd(in, len(in)) - len(in); over > 0 && over < 5 && len(got) != len(in) {
			want -= 5 - over
		}
		if !bytes.Equal(got, in[:want]) {
			t.Errorf("got %x of %x", got, in)
		}
	})
}

// The relay may write the stream's bytes right behind BOUND, so that they come
// in one segment: TLS must leave them alone.
func TestBytesRightBehindBound(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRelay(t, server, client)
		behind := randomBytes(1000)
		err := r.bind(t, func() {
			// One write to TCP: BOUND as TLS has it, and what follows.
			below := r.tls.NetConn().(*framing.TLSRecordConn)
			gather := &gatherConn{Conn: below.Conn}
			below.Conn = gather
			r.tls.Write(rec(boundRec))
			gather.Conn.Write(cat(gather.got, behind))
		})
		if err != nil {
			t.Fatal(err)
		}
		r.p.send(frame(psh, byHand, rec(dataRec, []byte("x")), rec(switchRec, u64(1))))
		got := make([]byte, 1+len(behind))
		r.device.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := io.ReadFull(r.device, got); err != nil || !bytes.Equal(got, cat([]byte("x"), behind)) {
			t.Errorf("what followed BOUND came as %d other bytes: %v", n, err)
		}
		r.device.Reset()
	})
}

// A gatherConn keeps what is written.
type gatherConn struct {
	net.Conn
	got []byte
}

func (g *gatherConn) Write(p []byte) (int, error) {
	g.got = append(g.got, p...)
	return len(p), nil
}

// The first lane takes the tickets of TLS before BOUND, and the second one is
// resumed with one.
func TestLaneResumes(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		for i, resumed := range []bool{false, true, true} {
			v, d := open(t, r.relay, r.remote, "")
			r.move(t, d)
			if r.last.ConnectionState().DidResume != resumed {
				t.Errorf("lane %d: resumed is %v, want %v", i, !resumed, resumed)
			}
			talk(t, v, d)
			v.Reset()
			d.Reset()
		}
	})
}
