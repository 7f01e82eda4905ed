package framing_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/testnet"
)

// TestBufferedConn reads much in pieces of all sizes, and sees that there is a
// buffer while there is something in it, and none afterwards.
func TestBufferedConn(t *testing.T) {
	a, b := testnet.TCPPair(t)
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

// TestGatheredWrites writes more than the socket takes, without waiting first
// and then with, and somebody else meanwhile: nothing is lost or out of order.
func TestGatheredWrites(t *testing.T) {
	if !framing.CanBuffer {
		t.Skip("a BufferedConn is a plain connection on this system: it has no reads and writes that do not wait")
	}
	a, b := testnet.TCPPair(t)
	defer b.Close()
	c := framing.NewBufferedConn(a)
	var sent []byte
	write := func(n int) {
		p := randomBytes(n)
		sent = append(sent, p...)
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	write(100) // at once
	for done := true; done; {
		framing.Hold(c)
		write(50 << 10)
		write(1)
		var err error
		if done, err = framing.Flush(c, 0); err != nil {
			t.Fatal(err)
		}
	}
	write(10 << 10) // kept, behind what waits
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(b)
		got <- all
	}()
	if done, err := framing.Flush(c, framing.WriteTimeout); !done || err != nil {
		t.Fatalf("flush: %v, %v", done, err)
	}
	write(100)
	c.Close()
	if all := <-got; !bytes.Equal(all, sent) {
		t.Errorf("%d bytes came, which differ from the %d that were sent", len(all), len(sent))
	}
	if framing.Holds(c) {
		t.Error("the buffer is held at the end")
	}
}

// TestFlushIsLimited writes to a peer that takes nothing.
func TestFlushIsLimited(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer a.Close()
	defer b.Close()
	if !framing.CanBuffer {
		t.Skip("a BufferedConn is a plain connection on this system: it has no reads and writes that do not wait")
	}
	c := framing.NewBufferedConn(a)
	framing.Hold(c)
	c.Write(make([]byte, 64<<20))
	if done, err := framing.Flush(c, 10*time.Millisecond); done || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("flush to a peer that does not read: %v, %v", done, err)
	}
}

// While a flush waits for a peer that takes nothing, what TLS answers to it is
// kept, but not without bounds.
func TestGatheredIsBounded(t *testing.T) {
	if !framing.CanBuffer {
		t.Skip("a BufferedConn is a plain connection on this system: it has no reads and writes that do not wait")
	}
	a, b := testnet.TCPPair(t)
	defer a.Close()
	defer b.Close()
	c := framing.NewBufferedConn(a)
	framing.Hold(c)
	for kept := 0; ; kept += 4 << 10 {
		if _, err := c.Write(make([]byte, 4<<10)); err != nil {
			break
		}
		if kept > 8<<20 {
			t.Fatalf("%d bytes are kept", kept)
		}
	}
}

// A reset that a large read has found is none the less a reset.
func TestLargeReadFindsReset(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer b.Close()
	c := framing.NewBufferedConn(b)
	a.Write(make([]byte, 100))
	io.ReadFull(c, make([]byte, 100)) // there may be more than that
	a.SetLinger(0)
	a.Close()
	for i := 0; i < 1000 && duplex.Broken(b) == nil; i++ {
		runtime.Gosched()
	}
	if _, err := c.Read(make([]byte, 100)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// A refilled is a connection on which, with each Write, more comes to be written.
type refilled struct {
	*framing.BufferedConn
	more func()
}

func (c *refilled) NetConn() net.Conn { return c.BufferedConn }

func (c *refilled) Write(p []byte) (int, error) {
	if c.more != nil {
		c.more()
	}
	return c.BufferedConn.Write(p)
}

// Who has something to write on a link does not have to write for all others.
func TestNobodyWritesForever(t *testing.T) {
	a, b := testnet.TCPPair(t)
	go io.Copy(io.Discard, b)
	defer b.Close()
	b.Write(helloRecord())
	c := &refilled{BufferedConn: framing.NewBufferedConn(a)}
	l, _, err := framing.Server(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Welcome(framing.Welcome{}, framing.Handler{}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := l.Open(header, nil)
	if err != nil {
		t.Fatal(err)
	}
	framing.HoldLink(l)
	c.more = func() { framing.QueuePong(l) }
	done := make(chan struct{})
	go func() {
		framing.ReleaseLink(l)
		s.Write([]byte("x"))
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("a Write does not return while others have more to write")
		l.Close()
		<-done
	}
}
