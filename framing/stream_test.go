package framing_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"keystay/framing"
	"keystay/internal/memconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var header = framing.Header{
	Name:   "xyz.relay.test",
	ID:     [16]byte{1, 2, 3},
	Source: netip.MustParseAddrPort("192.0.2.7:4711"),
	Dest:   netip.MustParseAddrPort("[2001:db8::1]:443"),
}

// claimsBy is a relay's handler that grants a name at once, or says why not.
func claimsBy(decide func(framing.Claim) error) func(context.Context, framing.Claim) (framing.Claimed, error) {
	return func(_ context.Context, c framing.Claim) (framing.Claimed, error) { return framing.Claimed{}, decide(c) }
}

// grantAll is the handler that grants all names.
func grantAll(context.Context, framing.Claim) (framing.Claimed, error) { return framing.Claimed{}, nil }

// links returns the two ends of a link over a, b.
func links(t testing.TB, a, b net.Conn, atRelay, atRemote framing.Handler) (relay, remote *framing.Link) {
	t.Helper()
	return linksWith(t, a, b, atRelay, atRemote, 0)
}

// linksWith is links with capabilities that both sides name.
func linksWith(t testing.TB, a, b net.Conn, atRelay, atRemote framing.Handler, capabilities uint32) (relay, remote *framing.Link) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		l, _, err := framing.Server(context.Background(), a)
		if err == nil {
			relay = l
			err = l.Welcome(framing.Welcome{PublicPort: 443, Capabilities: capabilities}, atRelay)
		}
		done <- err
	}()
	hello := framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64), Capabilities: capabilities}
	remote, _, err := framing.Client(context.Background(), b, hello, atRemote)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { relay.Close(); remote.Close() })
	return relay, remote
}

// memLinks returns a link in memory, and the connections below it.
func memLinks(t testing.TB) (relay, remote *framing.Link, a, b *memconn.Conn) {
	a, b = memconn.Pipe(0)
	relay, remote = links(t, a, b, framing.Handler{}, framing.Handler{})
	return relay, remote, a, b
}

// open opens a stream and accepts it.
func open(t testing.TB, relay, remote *framing.Link, first string) (visitor, device *framing.Stream) {
	t.Helper()
	visitor, err := relay.Open(header, []byte(first))
	if err != nil {
		t.Fatal(err)
	}
	device, err = remote.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return visitor, device
}

func TestConn(t *testing.T) {
	for name, opener := range map[string]bool{"opener": true, "acceptor": false} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				relay, remote, _, _ := memLinks(t)
				v, d := open(t, relay, remote, "")
				stop := func() { v.Close(); d.Close(); relay.Close(); remote.Close() }
				if opener {
					return v, d, stop, nil
				}
				return d, v, stop, nil
			})
		})
	}
}

func TestHeaderArrives(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	_, d := open(t, relay, remote, "")
	if d.Header() != header {
		t.Errorf("got %+v, want %+v", d.Header(), header)
	}
	if d.RemoteAddr().String() != header.Source.String() || d.LocalAddr().String() != header.Dest.String() {
		t.Errorf("addresses %v, %v", d.RemoteAddr(), d.LocalAddr())
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// A half-closed stream still carries the answer, whole, however late it is read.
func TestHalfClose(t *testing.T) { synctest.Test(t, testHalfClose) }

func testHalfClose(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	for range 50 {
		v, d := open(t, relay, remote, "req")
		if err := v.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer := randomBytes(300_000)
		go func() {
			req, _ := io.ReadAll(d)
			d.Write(append(req, answer...))
			d.Close()
		}()
		got, err := io.ReadAll(v)
		if err != nil || !bytes.Equal(got, append([]byte("req"), answer...)) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		v.Close()
	}
	settled(t, relay, remote)
}

// settled checks, in a synctest bubble, that no stream is left on the links.
func settled(t testing.TB, ls ...*framing.Link) {
	t.Helper()
	synctest.Wait()
	for _, l := range ls {
		if n := l.NumStreams(); n != 0 {
			t.Errorf("%d streams left", n)
		}
		if n := framing.PoolUsed(l); n != 0 {
			t.Errorf("%d bytes of the pool in use", n)
		}
		l.Close()
	}
}

// The acceptor may speak first: the opener knows of the stream before its SYN is
// written.
func TestAcceptorSpeaksFirst(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	go func() {
		for {
			d, err := remote.Accept()
			if err != nil {
				return
			}
			go func() {
				d.Write([]byte("hi"))
				d.CloseWrite()
				io.Copy(io.Discard, d)
				d.Close()
			}()
		}
	}()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 50 {
				v, err := relay.Open(header, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(v); string(b) != "hi" || err != nil {
					t.Errorf("read %q, %v", b, err)
				}
				v.Close()
			}
		})
	}
	wg.Wait()
}

func TestReset(t *testing.T) {
	for name, reset := range map[string]func(*framing.Stream) error{
		"Reset":                  (*framing.Stream).Reset,
		"Close with unread data": func(s *framing.Stream) error { s.Read(make([]byte, 1)); return s.Close() },
		"Refuse":                 (*framing.Stream).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, _, _ := memLinks(t)
				v, d := open(t, relay, remote, "unread")
				if err := reset(d); err != nil {
					t.Fatal(err)
				}
				_, err := io.ReadAll(v)
				var re *framing.ResetError
				if !errors.As(err, &re) || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read: %v, want a reset", err)
				}
				if _, err := v.Write([]byte("x")); !errors.As(err, &re) {
					t.Errorf("write: %v, want a reset", err)
				}
				v.Close()
				settled(t, relay, remote)
			})
		})
	}
}

// A reset reaches the other side even when it is blocked in Write.
func TestResetWakesWriter(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	v, d := open(t, relay, remote, "")
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(v, zeros{})
		done <- err
	}()
	io.ReadFull(d, make([]byte, 100_000))
	d.Reset()
	if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The loss of the link is an error of its streams, never an end.
func TestLinkLossIsNoEnd(t *testing.T) {
	relay, remote, a, _ := memLinks(t)
	v, d := open(t, relay, remote, "")
	d.Write([]byte("part"))
	io.ReadFull(v, make([]byte, 4))
	a.Reset()
	for _, s := range []*framing.Stream{v, d} {
		if n, err := s.Read(make([]byte, 9)); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %d, %v", n, err)
		}
	}
	<-relay.Done()
	<-remote.Done()
}

// Streams that nobody reads do not stall another one, in either direction.
func TestUnreadStreamsDoNotStall(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 300 {
		v, d := open(t, relay, remote, "")
		s := v
		if i%2 == 0 {
			s = d
		}
		defer v.Close()
		defer d.Close()
		wg.Go(func() { io.Copy(s, zeros{}) }) // until it is closed
	}
	v, d := open(t, relay, remote, "")
	defer v.Close()
	defer d.Close()
	go io.Copy(d, d)
	data := randomBytes(1 << 20)
	go v.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(v, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("echo beside 300 stalled streams: %v", err)
	}
}

// What an unread stream keeps in memory is bounded by its credit.
func TestWindowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, _ := open(t, relay, remote, "")
		v.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := io.Copy(v, zeros{})
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > 1<<20+64<<10 {
			t.Errorf("wrote %d bytes that nobody reads: %v", n, err)
		}
		relay.Close()
		remote.Close()
	})
}

// A closed stream that the other side never ends is reset after CloseLinger.
func TestCloseLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "")
		d.Close()
		if _, err := v.Write([]byte("late")); err != nil {
			t.Errorf("write into a closed stream: %v", err)
		}
		if b, err := io.ReadAll(v); len(b) > 0 || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		start := time.Now()
		for {
			if _, err := v.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := time.Since(start); got > framing.CloseLinger+time.Second || got < framing.CloseLinger-time.Second {
			t.Errorf("reset after %v", got)
		}
		relay.Close()
		remote.Close()
	})
}

// With memory in use by nobody, the pool is whole again.
func TestStreamsComeAndGo(t *testing.T) { synctest.Test(t, testStreamsComeAndGo) }

func testStreamsComeAndGo(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	for range 200 {
		v, d := open(t, relay, remote, "x")
		d.Write(randomBytes(100_000))
		v.Reset()
		d.Close()
	}
	settled(t, relay, remote)
}

// A stream is not over while something of it is gathered and not written: who
// closes the link then would lose it.
func TestGatheredIsNotOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "")
		v.CloseWrite()
		if _, err := io.ReadAll(d); err != nil {
			t.Fatal(err)
		}
		framing.HoldLink(remote)
		d.Write([]byte("the end"))
		d.Close()
		framing.GatherLink(remote)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := remote.WaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait while the end is not written: %v", err)
		}
		framing.ReleaseLink(remote)
		if err := remote.WaitIdle(context.Background()); err != nil {
			t.Error(err)
		}
		remote.Close()
		if got, err := io.ReadAll(v); err != nil || string(got) != "the end" {
			t.Errorf("got %q, %v", got, err)
		}
		v.Close()
	})
}
