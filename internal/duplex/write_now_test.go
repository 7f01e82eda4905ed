//go:build unix

package duplex_test

import (
	"bytes"
	"io"
	"testing"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
)

// A pusher gives what it is copied to, to a function.
type pusher struct {
	duplex.Conn
	give func(w nowWriter)
}

type nowWriter interface {
	io.Writer
	WriteNow(p []byte) (int, error)
}

func (s pusher) WriteTo(w io.Writer) (int64, error) {
	s.give(w.(nowWriter))
	return 0, nil
}

// What a source writes without waiting arrives in order with the rest, and is
// counted.
func TestWriteNowKeepsTheOrder(t *testing.T) {
	visitor, v := tcpPair(t)
	_, mem := memconn.Pipe(0)
	result := make(chan duplex.Result, 1)
	go func() {
		result <- duplex.Copy(v, pusher{mem, func(w nowWriter) {
			for _, p := range []string{"one ", "two "} {
				if n, err := w.WriteNow([]byte(p)); n != len(p) || err != nil {
					t.Errorf("%d bytes of %d were written, %v", n, len(p), err)
				}
				io.WriteString(w, "and ")
			}
		}}, duplex.Options{})
	}()
	visitor.CloseWrite()
	if got, err := io.ReadAll(visitor); string(got) != "one and two and " || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	mem.Close()
	if r := <-result; r.BtoA != 16 {
		t.Errorf("%d bytes are counted", r.BtoA)
	}
}

// A full socket takes a part, or nothing, at once.
func TestWriteNowToFullSocket(t *testing.T) {
	_, v := tcpPair(t)
	_, mem := memconn.Pipe(0)
	p := bytes.Repeat([]byte("x"), 64<<10)
	full := false
	duplex.Copy(v, pusher{mem, func(w nowWriter) {
		for range 10_000 {
			n, err := w.WriteNow(p)
			if err != nil || n > len(p) {
				t.Errorf("%d bytes were written, %v", n, err)
				break
			}
			if full = n < len(p); full {
				break
			}
		}
		mem.Close() // which ends the other direction too
	}}, duplex.Options{Probe: quick, Linger: quick})
	if !full {
		t.Error("the socket is never full")
	}
}

// Where the destination is no plain TCP connection nothing is written so.
func TestWriteNowIsForTCP(t *testing.T) {
	_, v := memconn.Pipe(0)
	_, mem := memconn.Pipe(0)
	duplex.Copy(v, pusher{mem, func(w nowWriter) {
		if n, err := w.WriteNow([]byte("x")); n != 0 || err != nil {
			t.Errorf("%d bytes were written, %v", n, err)
		}
		v.Close()
	}}, duplex.Options{})
}
