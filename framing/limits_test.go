package framing_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// acceptAll takes streams and keeps them.
func acceptAll(remote *framing.Link) *sync.WaitGroup {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := remote.Accept(); err != nil {
				return
			}
		}
	})
	return &wg
}

// A link has room for MaxStreams streams, and again for another whenever one
// has gone. That never breaks it, however far the remote lags behind.
func TestMaxStreams(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	streams := make([]*framing.Stream, framing.MaxStreams)
	for i := range streams {
		streams[i], _ = open(t, relay, remote, "x")
	}
	for range 10 {
		if _, err := relay.Open(header, nil); !errors.Is(err, framing.ErrTooManyStreams) {
			t.Fatalf("one more: %v", err)
		}
	}
	wg := acceptAll(remote)
	for i := range 600 {
		streams[i].Reset()
		s, err := relay.Open(header, []byte("x"))
		for errors.Is(err, framing.ErrTooManyStreams) { // the reset is not written yet
			runtime.Gosched()
			s, err = relay.Open(header, []byte("x"))
		}
		if err != nil {
			t.Fatalf("in the place of stream %d: %v", i, err)
		}
		streams[i] = s
	}
	if err := errors.Join(relay.Err(), remote.Err()); err != nil {
		t.Errorf("the link ended: %v", err)
	}
	relay.Close()
	remote.Close()
	wg.Wait()
}

// A relay that opens far more streams than MaxStreams loses the link.
func TestTooManyStreamsAtRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRelay(t, framing.Handler{})
		wg := acceptAll(l)
		p.discard()
		p.send(rec(startMux, []byte{2}))
		opened := 0
		for id := uint32(3); ; id += 2 {
			if _, err := p.conn.Write(cat(frame(syn, id), frame(psh, id, goodHeader()))); err != nil {
				break
			}
			if opened++; opened == framing.MaxStreams {
				up(t, l)
			}
			if opened > 3*framing.MaxStreams {
				t.Fatal("no end to the streams")
			}
		}
		violated(t, l)
		wg.Wait()
	})
}

// Streams that wait for Accept are bounded; a further one is refused, alone.
func TestAcceptBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		const backlog = 2048
		var streams []*framing.Stream
		for range backlog + 1 {
			s, err := relay.Open(header, nil)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			streams = append(streams, s)
		}
		last := streams[backlog]
		var re *framing.ResetError
		if _, err := last.Read(make([]byte, 1)); !errors.As(err, &re) || re.Code != framing.ResetRefused {
			t.Errorf("stream %d: %v, want refused", backlog, err)
		}
		for range backlog {
			d, err := remote.Accept()
			if err != nil {
				t.Fatal(err)
			}
			d.Write([]byte("x"))
			d.Reset()
		}
		up(t, relay, remote)
	})
}

// What is opened with more than InitialCredit arrives whole: a hello may be of
// 64 KiB.
func TestLargeFirstFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		first := randomBytes(200_000)
		got := make(chan []byte, 1)
		go func() {
			d, err := remote.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(d)
			if err != nil {
				t.Error(err)
			}
			got <- b
			d.Close()
		}()
		v, err := relay.Open(header, first)
		if err != nil {
			t.Fatal(err)
		}
		v.CloseWrite()
		if !bytes.Equal(<-got, first) {
			t.Error("other bytes arrived")
		}
		io.Copy(io.Discard, v)
		v.Close()
		settled(t, relay, remote)
	})
}

// A header that is too long for its record is an error of Open, not of the link.
func TestHeaderTooLong(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	long := header
	long.Name = strings.Repeat("x", 1100)
	if _, err := relay.Open(long, nil); err == nil {
		t.Error("opened")
	}
	open(t, relay, remote, "")
}

// slowWriter blocks its first Write until it is told to go on.
type slowWriter struct{ in, out chan struct{} }

func (w *slowWriter) Write(p []byte) (int, error) {
	w.in <- struct{}{}
	<-w.out
	return len(p), nil
}

// A stream that is reset while WriteTo is in the middle of a write takes
// nothing from the pool any more.
func TestResetDuringWriteTo(t *testing.T) {
	for name, reset := range map[string]func(v, d *framing.Stream){
		"by the other side": func(v, d *framing.Stream) { v.Reset() },
		"by this side":      func(v, d *framing.Stream) { d.Reset() },
		"closed":            func(v, d *framing.Stream) { v.CloseWrite(); d.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, _, _ := memLinks(t)
				v, d := open(t, relay, remote, strings.Repeat("x", 16<<10))
				synctest.Wait()
				w := &slowWriter{make(chan struct{}), make(chan struct{})}
				done := make(chan error, 1)
				go func() { _, err := d.WriteTo(w); done <- err }()
				<-w.in
				reset(v, d)
				synctest.Wait()
				close(w.out) // half of the window has been consumed now: time for CREDIT
				if err := <-done; err == nil {
					t.Error("WriteTo returned no error")
				}
				v.Close()
				d.Close()
				settled(t, relay, remote)
			})
		})
	}
}

// The pool is shared: with many streams that nobody reads, each gets less, and
// what a link keeps in all is bounded. They leave a good part to those that are
// read.
func TestPoolIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		var total int64
		var wg sync.WaitGroup
		var mu sync.Mutex
		const n = 200
		for range n {
			_, d := open(t, relay, remote, "")
			d.SetWriteDeadline(time.Now().Add(time.Second))
			wg.Go(func() {
				k, err := io.Copy(d, zeros{})
				if k < framing.InitialCredit {
					t.Errorf("a stream took %d bytes only: %v", k, err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += k
			})
		}
		wg.Wait()
		// Beyond the credit each stream may have two frames on their way.
		if limit := int64(32<<20 + n*(framing.InitialCredit+33<<10)); total > limit {
			t.Errorf("the link took %d bytes that nobody reads, more than %d", total, limit)
		}
		if total < 16<<20*9/10 {
			t.Errorf("the link took only %d bytes", total)
		}
		if left := 32<<20 - framing.PoolUsed(relay); left < 16<<20 {
			t.Errorf("only %d bytes of the pool are left", left)
		}
		relay.Close()
		remote.Close()
	})
}

// A stream that has ended keeps of the pool only what is unread.
func TestEndGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "x")
		d.Read(make([]byte, 1))
		synctest.Wait()
		if framing.PoolUsed(relay) == 0 {
			t.Error("an open stream has nothing of the pool: this test is void")
		}
		d.Write([]byte("unread"))
		d.CloseWrite()
		synctest.Wait()
		if n := framing.PoolUsed(relay); n != 0 {
			t.Errorf("%d bytes of the pool in use for a stream that has ended", n)
		}
		v.CloseWrite()
		if b, err := io.ReadAll(v); string(b) != "unread" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		io.Copy(io.Discard, d)
		settled(t, relay, remote)
	})
}

// Records and fields of later minor versions are skipped.
func TestLaterMinorVersions(t *testing.T) {
	more := []byte("fields of a later version")
	unknown := cat(rec(0x80), rec(0xff, make([]byte, 4096)))
	t.Run("relay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memconn.Pipe(0)
			p := &peer{t, b}
			h := helloRecord()
			p.send(rec(hello, h[3:], more))
			l, _, err := framing.Server(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			went := make(chan framing.GoAway, 1)
			l.Welcome(framing.Welcome{}, framing.Handler{Claim: claimsBy(func(c framing.Claim) error {
				name, token := c.Name, c.Token
				if name != "xyz.relay.test" || token != "t" {
					t.Errorf("claim of %q with %q", name, token)
				}
				return nil
			}), GoAway: func(g framing.GoAway) { went <- g }})
			p.expect(welcome)
			p.send(unknown, rec(claim, str8("xyz.relay.test"), str16("t"), more))
			p.expect(claimed)
			s, err := l.Open(header, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			id := p.nextSYN()
			p.discard()
			p.send(unknown, frame(psh, id, unknown, rec(creditRec, u32(5), more), rec(dataRec, []byte("abc")), unknown))
			p.send(rec(goAway, u16(77), u32(5), str16("why"), more))
			if g := <-went; g != (framing.GoAway{Code: 77, In: 5 * time.Millisecond, Text: "why"}) {
				t.Errorf("GOAWAY %+v", g)
			}
			p.send(frame(psh, id, rec(resetRec, u16(9), more)))
			var re *framing.ResetError
			if _, err := io.Copy(io.Discard, s); !errors.As(err, &re) || re.Code != 9 {
				t.Errorf("read: %v", err)
			}
			up(t, l)
		})
	})
	t.Run("remote", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memconn.Pipe(0)
			p := &peer{t, b}
			w := welcomeRecord()
			p.send(rec(welcome, w[3:], more))
			gone := make(chan *framing.Denial, 1)
			l, _, err := framing.Client(t.Context(), a, someHello, framing.Handler{Lost: func(d *framing.Denial) { gone <- d }})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p.expect(hello)
			answer := make(chan error, 2)
			go func() {
				for _, name := range []string{"a", "b"} {
					_, err := l.Claim(t.Context(), framing.Claim{Name: name})
					answer <- err
				}
			}()
			p.expect(claim)
			p.send(unknown, rec(claimed, str8("a"), more))
			if err := <-answer; err != nil {
				t.Errorf("claim: %v", err)
			}
			p.expect(claim)
			p.send(rec(denied, str8("b"), u16(900), str16("new"), more))
			var d *framing.Denial
			if err := <-answer; !errors.As(err, &d) || d.Code != 900 || d.Permanent() {
				t.Errorf("claim: %v", err)
			}
			p.send(rec(lost, str8("a"), u16(900), str16("new"), more))
			if d := <-gone; d.Code != 900 || d.Name != "a" {
				t.Errorf("lost %+v", d)
			}
			h := proxyHeader(1, tlv(0x02, "xyz.relay.test"), tlv(0xE0, "\x07"), tlv(0xEE, "later"), tlv(0x04, "\x00\x00"))
			p.send(rec(startMux, []byte{2}, more[:15]), rec(muxRecord), frame(syn, 3), frame(nop, 0),
				frame(psh, 3, rec(headerRec, h), unknown, rec(dataRec, []byte("abc")), rec(endRec)))
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(s); string(b) != "abc" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			if h := s.Header(); h.Kind != 7 || h.Name != "xyz.relay.test" || h.Source != visitorAddr {
				t.Errorf("header %+v", h)
			}
			up(t, l)
		})
	})
}

// A smux stream that ends without END or RESET was cut off.
func TestCutStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRelay(t, framing.Handler{})
		p.discard()
		p.send(rec(startMux, []byte{2}), frame(syn, 3), frame(psh, 3, goodHeader(), rec(dataRec, []byte("abc"))), frame(fin, 3))
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := io.ReadAll(s); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		up(t, l)
	})
}

// Errors are those of a net.Conn.
func TestStreamErrors(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	v, d := open(t, relay, remote, "")
	if v.LocalAddr() != relay.RemoteAddr() && v.LocalAddr() == nil || v.RemoteAddr() != relay.RemoteAddr() {
		t.Errorf("addresses %v, %v", v.LocalAddr(), v.RemoteAddr())
	}
	v.CloseWrite()
	if _, err := v.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	if err := v.CloseWrite(); err != nil {
		t.Errorf("CloseWrite again: %v", err)
	}
	v.Close()
	for what, err := range map[string]error{
		"Close":       v.Close(),
		"CloseWrite":  v.CloseWrite(),
		"SetDeadline": v.SetDeadline(time.Now()),
	} {
		var op *net.OpError
		if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	d.Reset()
	if err := d.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("CloseWrite after Reset: %v", err)
	}
	v, d = open(t, relay, remote, "")
	d.Reset()
	v.Read(make([]byte, 1)) // waits for it
	if err := v.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("CloseWrite of a stream that was reset: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Errorf("Close of a stream that was reset: %v", err)
	}
	if !strings.Contains((&framing.ResetError{Code: 2}).Error(), "2") {
		t.Error("a ResetError does not tell its code")
	}
}

// A relay whose ids have run out ends the link, so that the remote dials another.
func TestIDsRunOut(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	framing.UseIDs(relay, 2)
	for range 2 {
		open(t, relay, remote, "x")
	}
	if _, err := relay.Open(header, nil); err == nil {
		t.Error("a stream was opened with an id that was used before")
	}
	<-relay.Done()
	<-remote.Done()
}

// A stream whose first data was waiting for credit when the link was lost is not
// opened: its visitor goes to another link.
func TestOpenOnLostLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, p := rawRemote(t, framing.Handler{})
		p.discard()
		opened := make(chan error, 1)
		go func() {
			_, err := relay.Open(header, make([]byte, 2*framing.InitialCredit))
			opened <- err
		}()
		synctest.Wait()
		if len(opened) > 0 {
			t.Fatal("it did not wait for credit")
		}
		relay.Close()
		if err := <-opened; err == nil {
			t.Error("a stream was opened on a link that is lost")
		}
	})
}

// Open waits for nothing with up to InitialCredit bytes, not for a link that is
// full either: it is called for a visitor, who may leave.
func TestOpenDoesNotWaitForALinkThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, p := rawRemote(t, framing.Handler{})
		p.discard()
		framing.HoldLink(relay) // nobody writes
		for i := range framing.MaxStreams {
			if _, err := relay.Open(header, make([]byte, 2000)); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
		if _, err := relay.Open(header, nil); !errors.Is(err, framing.ErrTooManyStreams) {
			t.Errorf("one more: %v", err)
		}
		framing.ReleaseLink(relay)
		relay.Close()
	})
}
