package sni_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"keystay/sni"
)

func TestReadKeepsEveryByte(t *testing.T) {
	sent := cat(golden(t)["openssl-records.bin"], []byte("early data"))
	for _, buf := range [][]byte{nil, make([]byte, 0, 100), make([]byte, 4096), make([]byte, 1<<20)} {
		w := &wire{r: bytes.NewReader(sent)}
		h, err := sni.Read(w, buf)
		if err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(w.r)
		if !bytes.Equal(cat(h.Raw, rest), sent) {
			t.Errorf("with a buffer of %d: Raw and what is left are not what was sent", cap(buf))
		}
		if !w.deadline.IsZero() {
			t.Error("the deadline is not cleared")
		}
	}
}

func TestReadUsesTheBuffer(t *testing.T) {
	b := golden(t)["go.bin"]
	buf := make([]byte, 4096)
	r := bytes.NewReader(b)
	w := &wire{r: r}
	n := testing.AllocsPerRun(100, func() {
		r.Reset(b)
		if h, err := sni.Read(w, buf); err != nil || &h.Raw[0] != &buf[0] {
			t.Error("Raw is not in the buffer", err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A claimReader sends b again and again and counts what was asked of it.
type claimReader struct {
	b       []byte
	got     int
	largest int // room offered
	ahead   int // most that the room exceeded what was sent before
}

func (r *claimReader) Read(p []byte) (int, error) {
	r.largest = max(r.largest, len(p))
	r.ahead = max(r.ahead, len(p)-r.got)
	n := copy(p, r.b[min(r.got, len(r.b)):])
	r.got += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestReadAllocatesNothingForAClaim(t *testing.T) {
	// A record of 16 KiB and a message of 32 KiB announced, 9 bytes sent.
	r := &claimReader{b: []byte{22, 3, 1, 0x40, 0, 1, 0, 0x80, 0}}
	h, err := sni.Read(&wire{r: r}, make([]byte, 64))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if r.largest > 64 || cap(h.Raw) > 64 {
		t.Errorf("room for %d bytes was made", max(r.largest, cap(h.Raw)))
	}
}

func TestReadStopsAtMaxHello(t *testing.T) {
	for _, c := range []struct {
		what string
		b    []byte
	}{
		{"a long message", padded(t, sni.MaxHello+1, 1<<14)},
		{"a last record that goes on too long", overhanging(t)},
		{"many small records", split(message(ext(0x2000, make([]byte, 20_000))), 1)},
	} {
		for _, buf := range []int{0, 4096, 1 << 20} {
			r := &claimReader{b: c.b}
			h, err := sni.Read(&wire{r: r}, make([]byte, buf))
			if !errors.Is(err, sni.ErrTooLarge) {
				t.Errorf("%s: %v", c.what, err)
			}
			if r.ahead > max(1024, buf) {
				t.Errorf("%s: room for %d bytes more than had come", c.what, r.ahead)
			}
			if r.got > sni.MaxHello || cap(h.Raw) > max(buf, sni.MaxHello) {
				t.Errorf("%s: read %d bytes into %d", c.what, r.got, cap(h.Raw))
			}
		}
	}
	fits := padded(t, sni.MaxHello, 1<<14)
	h, err := sni.Read(&wire{r: iotest.OneByteReader(bytes.NewReader(fits))}, nil)
	if err != nil || !bytes.Equal(h.Raw, fits) {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
}

func TestReadTellsHowItEnded(t *testing.T) {
	hello := golden(t)["go.bin"]
	broken := errors.New("broken")
	for _, c := range []struct {
		what string
		r    io.Reader
		want error
	}{
		{"closed at once", bytes.NewReader(nil), io.EOF},
		{"closed in the middle", bytes.NewReader(hello[:100]), io.ErrUnexpectedEOF},
		{"broken", io.MultiReader(bytes.NewReader(hello[:100]), iotest.ErrReader(broken)), broken},
		{"not TLS", bytes.NewReader([]byte("SSH-2.0-x\r\n")), sni.ErrNotTLS},
		{"a ServerHello", bytes.NewReader(record(22, handshake(2, nil))), sni.ErrMalformed},
	} {
		_, err := sni.Read(&wire{r: c.r}, nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if c.want != io.ErrUnexpectedEOF && errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	// The last bytes may come together with the end.
	if _, err := sni.Read(&wire{r: iotest.DataErrReader(bytes.NewReader(hello))}, nil); err != nil {
		t.Error(err)
	}
}

func TestReadTimeoutIsForTheWholeHello(t *testing.T) {
	hello := golden(t)["go.bin"]
	for _, every := range []time.Duration{0, 3 * time.Second} { // 0: never a byte
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			var peer sync.WaitGroup
			defer peer.Wait()
			defer ours.Close()
			peer.Go(func() {
				defer theirs.Close()
				for i := 0; every > 0; i++ {
					if _, err := theirs.Write(hello[i : i+1]); err != nil {
						return
					}
					time.Sleep(every)
				}
				_, _ = theirs.Read(make([]byte, 1))
			})
			start := time.Now()
			h, err := sni.Read(ours, nil)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("one byte every %v: %v", every, err)
			}
			if took := time.Since(start); took != sni.HelloTimeout {
				t.Errorf("one byte every %v: gave up after %v", every, took)
			}
			if every > 0 && len(h.Raw) != 1+int(sni.HelloTimeout/every) {
				t.Errorf("Raw has %d bytes", len(h.Raw))
			}
		})
	}
}

// BenchmarkReadHostile reads the most laborious hello there is: the most
// records of one byte that fit, each byte by itself.
func BenchmarkReadHostile(b *testing.B) {
	hello := split(message(ext(0x2000, make([]byte, 10_800))), 1)
	buf := make([]byte, 4096)
	b.SetBytes(int64(len(hello)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sni.Read(&wire{r: iotest.OneByteReader(bytes.NewReader(hello))}, buf); err != nil {
			b.Fatal(err)
		}
	}
}
