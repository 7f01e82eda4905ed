package framing_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"keystay/framing"
)

// TestBufferedConn reads much in pieces of all sizes, and sees that there is a
// buffer while there is something in it, and none afterwards.
func TestBufferedConn(t *testing.T) {
	a, b := tcpPair(t)
	defer a.Close()
	defer b.Close()
	sent := make([]byte, 4<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	go func() {
		a.Write(sent)
		a.Close()
	}()
	c := framing.NewBufferedConn(b)
	var got []byte
	held := false
	for {
		p := make([]byte, 1+rand.IntN(40<<10))
		n, err := c.Read(p)
		got = append(got, p[:n]...)
		held = held || framing.Holds(c)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came, which differ from the %d that were sent", len(got), len(sent))
	}
	if framing.CanBuffer && !held {
		t.Error("nothing was read ahead")
	}
	if framing.Holds(c) {
		t.Error("the buffer is held at the end")
	}
}
