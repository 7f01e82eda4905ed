package memconn_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
)

var _ interface {
	net.Conn
	CloseWrite() error
	Reset() error
	Broken() error
} = (*memconn.Conn)(nil)

// fails reports as a test failure an error that is not want.
func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("write %q: %d, %v", s, n, err)
	}
}

func readAll(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got, err := io.ReadAll(c)
	if string(got) != want || err != nil {
		t.Errorf("read all: %q, %v; want %q", got, err, want)
	}
}

func TestHalfCloseLeavesTheOtherWayOpen(t *testing.T) {
	a, b := memconn.Pipe(0)
	write(t, a, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, err := a.Write([]byte("x"))
	fails(t, "write after CloseWrite", err, syscall.EPIPE)
	readAll(t, b, "question")
	write(t, b, "answer")
	b.Close()
	readAll(t, a, "answer")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	fails(t, "second Close", a.Close(), net.ErrClosed)
	fails(t, "CloseWrite after Close", a.CloseWrite(), net.ErrClosed)
	fails(t, "deadline after Close", a.SetDeadline(time.Now()), net.ErrClosed)
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	a, b := memconn.Pipe(0)
	write(t, a, "lost")
	write(t, b, "unread")
	a.Close()
	_, err := b.Read(make([]byte, 1))
	fails(t, "read", err, syscall.ECONNRESET)
	_, err = b.Write([]byte("x"))
	fails(t, "write", err, syscall.ECONNRESET)
	fails(t, "CloseWrite", b.CloseWrite(), syscall.ECONNRESET)
	b.Close()
}

func TestWriteToClosedPeerResets(t *testing.T) {
	a, b := memconn.Pipe(0)
	a.Close()
	_, err := b.Read(make([]byte, 1))
	fails(t, "read", err, io.EOF)
	if err := b.Broken(); err != nil {
		t.Errorf("broken after a FIN: %v", err)
	}
	_, err = b.Write([]byte("x"))
	fails(t, "write", err, syscall.ECONNRESET)
	_, err = b.Read(make([]byte, 1))
	fails(t, "read after that", err, syscall.ECONNRESET)
	fails(t, "broken", b.Broken(), syscall.ECONNRESET)
	b.Close()
}

func TestResetEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(4)
		write(t, a, "gone")
		var wg sync.WaitGroup
		wg.Go(func() {
			n, err := b.Write([]byte("too long"))
			if n != 4 {
				t.Errorf("wrote %d bytes into a buffer of 4", n)
			}
			fails(t, "write", err, syscall.ECONNRESET)
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := b.Write([]byte("the second write waits for the first"))
			fails(t, "second write", err, syscall.ECONNRESET)
		})
		synctest.Wait()
		a.Reset()
		wg.Wait()
		n, err := b.Read(make([]byte, 8))
		if n != 0 {
			t.Errorf("read %d bytes after a reset", n)
		}
		fails(t, "read", err, syscall.ECONNRESET)
		_, err = a.Read(make([]byte, 1))
		fails(t, "own read", err, net.ErrClosed)
		b.Close()
	})
}

func TestWritesAreNotMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(3)
		var wg sync.WaitGroup
		for _, s := range []string{"aaaaaaaa", "bbbbbbbb"} {
			wg.Go(func() { write(t, a, s) })
		}
		got := make([]byte, 16)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if !bytes.Equal(got[:8], bytes.Repeat(got[:1], 8)) {
			t.Errorf("mixed: %q", got)
		}
		a.Close()
		b.Close()
	})
}

func TestDeadlinesEndReadsAndWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(1)
		defer b.Close()
		defer a.Close()
		start := time.Now()
		after := func(want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("after %v, want %v", got, want)
			}
		}
		a.SetReadDeadline(start.Add(time.Hour))
		a.SetReadDeadline(start.Add(time.Second)) // in place of the hour
		_, err := a.Read(make([]byte, 1))
		fails(t, "read", err, os.ErrDeadlineExceeded)
		after(time.Second)

		a.SetWriteDeadline(start.Add(2 * time.Second))
		n, err := a.Write([]byte("xy"))
		if n != 1 {
			t.Errorf("wrote %d, want 1", n)
		}
		fails(t, "write", err, os.ErrDeadlineExceeded)
		after(2 * time.Second)

		a.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { io.CopyN(io.Discard, b, 1) })
		write(t, a, "z")
		after(3 * time.Second)

		// A deadline set while a Read waits ends it.
		time.AfterFunc(time.Second, func() { a.SetReadDeadline(time.Now()) })
		_, err = a.Read(make([]byte, 1))
		fails(t, "read", err, os.ErrDeadlineExceeded)
		after(4 * time.Second)
	})
}

func TestDefaultBufferHoldsSoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, memconn.DefaultBuffer+1))
		if n != memconn.DefaultBuffer {
			t.Errorf("wrote %d", n)
		}
		fails(t, "write", err, os.ErrDeadlineExceeded)
		a.Close()
		b.Reset()
	})
}

func TestCutIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(10)
		write(t, a, "early")
		a.Cut()
		write(t, a, "later") // into the send buffer, which is full then
		a.SetDeadline(time.Now().Add(time.Minute))
		n, err := a.Write([]byte("x"))
		if n != 0 {
			t.Errorf("wrote %d into a full buffer", n)
		}
		fails(t, "write", err, os.ErrDeadlineExceeded)

		got := make([]byte, 10)
		if n, err := b.Read(got); string(got[:n]) != "early" || err != nil {
			t.Errorf("read %q, %v; want what had arrived", got[:n], err)
		}
		write(t, b, "nobody")
		a.Reset()
		b.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = b.Read(got)
		fails(t, "read after the peer's reset", err, os.ErrDeadlineExceeded)
		write(t, b, "none")
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestEndsHaveAddresses(t *testing.T) {
	a, b := memconn.Pipe(0)
	defer a.Close()
	defer b.Close()
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.LocalAddr().String() == a.RemoteAddr().String() {
		t.Errorf("default addresses: %v, %v", a.LocalAddr(), a.RemoteAddr())
	}
	visitor := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4711}
	b.SetAddrs(b.LocalAddr(), visitor)
	if b.RemoteAddr() != visitor || a.LocalAddr() != visitor {
		t.Errorf("after SetAddrs: %v, %v", b.RemoteAddr(), a.LocalAddr())
	}
}

// Two writers that wait for each other's reader do not keep each other awake.
func TestBothDirectionsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(1)
		for _, c := range []*memconn.Conn{a, b} {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			go c.Write(make([]byte, 2))
		}
		<-time.After(time.Minute) // never, if somebody is always awake
		a.Close()
		b.Close()
	})
}
