package framing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

var someHello = framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64)}

func TestHelloRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code, permanent := range map[framing.RefusalCode]bool{
			framing.RefusedProof: true, framing.RefusedVersion: true, framing.RefusedBanned: true,
			framing.RefusedBusy: false, 0: false, 99: false,
		} {
			a, b := memconn.Pipe(0)
			go func() {
				if l, _, err := framing.Server(t.Context(), a); err == nil {
					l.Refuse(framing.Refusal{Code: code, Text: "go\x1b[31m away" + strings.Repeat(".", 2000)})
				}
			}()
			_, _, err := framing.Client(t.Context(), b, someHello, framing.Handler{})
			var r *framing.Refusal
			if !errors.As(err, &r) || r.Code != code || r.Permanent() != permanent {
				t.Fatalf("code %d: got %v", code, err)
			}
			if len(r.Text) != 1024 || !strings.HasPrefix(r.Text, "go [31m away") {
				t.Errorf("text %.20q of %d bytes", r.Text, len(r.Text))
			}
			if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the refused connection is not closed: %v", err)
			}
		}
	})
}

// What both say of themselves arrives.
func TestHelloAndWelcomeArrive(t *testing.T) {
	a, b := memconn.Pipe(0)
	sent := framing.Hello{Minor: framing.Minor, Capabilities: 1<<31 | 1, Key: randomBytes(32), Signature: randomBytes(64),
		Run: framing.Run{Number: 1<<63 + 1, ID: [16]byte(randomBytes(16))}, Agent: "keystay-remote/1"}
	answer := framing.Welcome{Minor: framing.Minor, Capabilities: 7, PublicPort: 8443, Agent: strings.Repeat("a", 255), Names: framing.MaxNames}
	done := make(chan error, 1)
	go func() {
		l, h, err := framing.Server(t.Context(), a)
		if err == nil {
			if fmt.Sprint(h) != fmt.Sprint(sent) {
				t.Errorf("got %+v, want %+v", h, sent)
			}
			err = l.Welcome(answer, framing.Handler{})
			defer l.Close()
		}
		done <- err
	}()
	l, w, err := framing.Client(t.Context(), b, sent, framing.Handler{})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if w != answer {
		t.Errorf("got %+v, want %+v", w, answer)
	}
	if l.RemoteAddr() != b.RemoteAddr() {
		t.Errorf("RemoteAddr is %v", l.RemoteAddr())
	}
}

// Neither side waits for ever for the first record of the other.
func TestHelloTimeout(t *testing.T) {
	for name, shake := range map[string]func(context.Context, net.Conn) error{
		"relay": func(ctx context.Context, c net.Conn) error { _, _, err := framing.Server(ctx, c); return err },
		"remote": func(ctx context.Context, c net.Conn) error {
			_, _, err := framing.Client(ctx, c, someHello, framing.Handler{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memconn.Pipe(0)
				b.Write([]byte{1, 0}) // a beginning is not enough
				start := time.Now()
				err := shake(t.Context(), a)
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != framing.HelloTimeout {
					t.Errorf("%v after %v", err, took)
				}
				a, b = memconn.Pipe(0)
				defer b.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start = time.Now()
				if err := shake(ctx, a); err == nil || time.Since(start) != time.Second {
					t.Errorf("with a context: %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		gone := make(chan *framing.Denial, 1)
		relay, remote := links(t, a, b, framing.Handler{Claim: claimsBy(func(c framing.Claim) error {
			name, token := c.Name, c.Token
			switch {
			case name == "broken.relay.test":
				return errors.New("the disk is full")
			case name == "wrapped.relay.test":
				return fmt.Errorf("claim: %w", &framing.Denial{Code: framing.DeniedClosed, Text: "no"})
			case token != "let me in":
				return &framing.Denial{Name: "another", Code: framing.DeniedToken, Text: "no"}
			}
			return nil
		})}, framing.Handler{Lost: func(d *framing.Denial) { gone <- d }})
		for _, c := range []struct {
			name, token string
			code        framing.DenialCode
			permanent   bool
		}{
			{"xyz.relay.test", "let me in", 0, false},
			{"xyz.relay.test", "", framing.DeniedToken, true},
			{"wrapped.relay.test", "", framing.DeniedClosed, true},
			{"broken.relay.test", "", framing.DeniedUnavailable, false},
			{strings.Repeat("x", 253), "let me in", 0, false},
		} {
			_, err := remote.Claim(t.Context(), framing.Claim{Name: c.name, Token: c.token})
			var d *framing.Denial
			switch {
			case c.code == 0 && err != nil:
				t.Errorf("%.20s: %v", c.name, err)
			case c.code != 0 && (!errors.As(err, &d) || d.Code != c.code || d.Name != c.name || d.Permanent() != c.permanent):
				t.Errorf("%s: got %+v", c.name, err)
			case d != nil && strings.Contains(d.Text, "disk"):
				t.Errorf("the relay's own error was told: %v", d)
			}
		}
		for name, token := range map[string]string{strings.Repeat("x", 254): "", "x": strings.Repeat("x", 1025)} {
			if _, err := remote.Claim(t.Context(), framing.Claim{Name: name, Token: token}); err == nil {
				t.Errorf("a name of %d and a token of %d bytes were claimed", len(name), len(token))
			}
		}
		relay.Revoke(framing.Denial{Name: "xyz.relay.test", Code: framing.DeniedReplaced, Text: "newer"})
		if d := <-gone; *d != (framing.Denial{Name: "xyz.relay.test", Code: framing.DeniedReplaced, Text: "newer"}) {
			t.Errorf("lost %+v", d)
		}
		up(t, relay, remote)
	})
}

// LOST for a name that the remote has not claimed is not the remote's loss,
// whatever bytes the name has, and the link lives on.
func TestLostForANameThatWasNotClaimedIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		gone := make(chan *framing.Denial, 2)
		relay, remote := links(t, a, b, framing.Handler{Claim: grantAll},
			framing.Handler{Lost: func(d *framing.Denial) { gone <- d }})
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test"}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"abc.relay.test", "\x1b]0;owned\a\x1b[2Jx", ""} {
			relay.Revoke(framing.Denial{Name: name, Code: framing.DeniedReplaced, Text: "newer"})
		}
		relay.Revoke(framing.Denial{Name: "xyz.relay.test", Code: framing.DeniedBanned, Text: "a\x1b[2Jb\u202ec\nhint: d"})
		if d := <-gone; d.Name != "xyz.relay.test" || d.Text != "a [2Jb c hint: d" {
			t.Errorf("lost %+v", d)
		}
		up(t, relay, remote)
	})
}

// The codes that mean "never": those of PROTOCOL.md, and no unknown one.
func TestPermanentDenials(t *testing.T) {
	for code := range framing.DenialCode(20) {
		want := code >= framing.DeniedInvalid && code <= framing.DeniedBanned || code == framing.DeniedReleased || code == framing.DeniedHandover
		if got := (&framing.Denial{Code: code}).Permanent(); got != want {
			t.Errorf("code %d: permanent is %v", code, got)
		}
	}
}

// Claims made at once each get their own answer, also when one has given up.
func TestClaimsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		hold := make(chan struct{})
		_, remote := links(t, a, b, framing.Handler{Claim: claimsBy(func(c framing.Claim) error {
			name := c.Name
			<-hold
			if strings.HasPrefix(name, "n") {
				return &framing.Denial{Code: framing.DeniedTaken, Text: name}
			}
			return nil
		})}, framing.Handler{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := remote.Claim(ctx, framing.Claim{Name: "n-first"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first: %v", err)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			for _, yes := range []bool{true, false} {
				wg.Go(func() {
					name := fmt.Sprintf("n%d", i)
					if yes {
						name = fmt.Sprintf("y%d", i)
					}
					_, err := remote.Claim(t.Context(), framing.Claim{Name: name})
					var d *framing.Denial
					if yes != (err == nil) || !yes && (!errors.As(err, &d) || d.Text != name) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
	})
}

// A claim on a link that is lost, or over, fails and does not hang.
func TestClaimWithoutLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRelay(t, framing.Handler{})
		done := make(chan error, 1)
		go func() {
			_, err := l.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test"})
			done <- err
		}()
		p.expect(claim)
		p.conn.Reset()
		if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("claim whose link is lost: %v", err)
		}
		if _, err := l.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test"}); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("claim on a lost link: %v", err)
		}
	})
}

func TestMaxNames(t *testing.T) {
	a, b := memconn.Pipe(0)
	_, remote := links(t, a, b, framing.Handler{Claim: grantAll}, framing.Handler{})
	var d *framing.Denial
	for i := range framing.MaxNames + 1 {
		_, err := remote.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)})
		if i < framing.MaxNames && err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
		if i == framing.MaxNames && (!errors.As(err, &d) || d.Code != framing.DeniedLimit || d.Permanent()) {
			t.Errorf("name %d: %v", i, err)
		}
	}
}

func TestNoNamesWithoutHandler(t *testing.T) {
	_, remote, _, _ := memLinks(t)
	var d *framing.Denial
	if _, err := remote.Claim(t.Context(), framing.Claim{Name: "x"}); !errors.As(err, &d) || d.Code != framing.DeniedClosed {
		t.Errorf("got %v", err)
	}
}

// An idle link stays up, by a PING now and then and its PONG, and no more than that.
func TestIdleLinkStaysUp(t *testing.T) {
	for name, withStream := range map[string]bool{"link": false, "session": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, _, _ := memLinks(t)
				if withStream {
					open(t, relay, remote, "x")
				}
				time.Sleep(time.Hour)
				up(t, relay, remote)
			})
		})
	}
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := rawRelay(t, framing.Handler{})
		for i := range 5 {
			start := time.Now()
			b := p.expect(ping)
			// The first one comes at a random time: links are not in step.
			if took := time.Since(start); took > framing.PingInterval || i > 0 && took != framing.PingInterval {
				t.Errorf("PING after %v", took)
			}
			p.send(rec(pong, b))
		}
		l, p := rawRemote(t, framing.Handler{})
		p.send(rec(ping, []byte("eight by")))
		if b := p.expect(pong); string(b) != "eight by" {
			t.Errorf("PONG %q", b)
		}
		up(t, l)
	})
}

// Both ends notice in under 20 s that the link has died without a word.
func TestSilence(t *testing.T) {
	const noticed = 20 * time.Second
	for name, withStream := range map[string]bool{"link": false, "session": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, a, _ := memLinks(t)
				var v, d *framing.Stream
				if withStream {
					v, d = open(t, relay, remote, "")
				}
				time.Sleep(time.Minute + 3*time.Second)
				a.Cut()
				start := time.Now()
				for _, l := range []*framing.Link{relay, remote} {
					_, err := wait(t, l)
					took := time.Since(start)
					if !errors.Is(err, framing.ErrSilent) || took >= noticed || took < framing.SilenceLimit-framing.PingInterval {
						t.Errorf("%v after %v", err, took)
					}
				}
				if withStream {
					broken(t, v)
					broken(t, d)
				}
			})
		})
	}
}

// A write that makes no progress ends the link, though the other side is heard.
func TestStalledWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRemote(t, framing.Handler{})
		s, err := l.Open(header, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := p.nextSYN()
		p.send(frame(psh, id, rec(creditRec, u32(1<<20)))) // and reads nothing
		start := time.Now()
		talking := make(chan struct{})
		go func() {
			defer close(talking)
			for l.Err() == nil {
				p.conn.Write(rec(pong, make([]byte, 8)))
				select {
				case <-time.After(5 * time.Second):
				case <-l.Done():
				}
			}
		}()
		_, err = io.Copy(s, zeros{})
		took := time.Since(start)
		if !errors.Is(l.Err(), os.ErrDeadlineExceeded) || took < framing.WriteTimeout || took > framing.WriteTimeout+time.Second {
			t.Errorf("the link ended with %v after %v", l.Err(), took)
		}
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("write: %v", err)
		}
		broken(t, s)
		<-talking
	})
}

// A peer that sends PING after PING and reads no PONG is cut off before the
// answers fill the memory.
func TestPingFlood(t *testing.T) {
	for name, raw := range map[string]func(testing.TB, framing.Handler) (*framing.Link, *peer){"relay": rawRemote, "remote": rawRelay} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := raw(t, framing.Handler{})
				flood := 0
				go func() {
					for b := rec(ping, make([]byte, 8)); ; flood += len(b) {
						if _, err := p.conn.Write(b); err != nil {
							return
						}
					}
				}()
				violated(t, l)
				synctest.Wait()
				// 64 KiB in the connection each way, as much in the queue and
				// in the write under way.
				if flood > 300<<10 {
					t.Errorf("took %d bytes of PINGs", flood)
				}
			})
		})
	}
}

// Close ends the link for the other side in good order, and its streams not.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "x")
		accepted := make(chan error, 1)
		go func() { _, err := remote.Accept(); accepted <- err }()
		synctest.Wait() // nothing is being written
		relay.Close()
		if err := relay.Err(); !errors.Is(err, framing.ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("at the closer: %v", err)
		}
		if _, err := wait(t, remote); err != io.EOF {
			t.Errorf("at the other side: %v, want EOF", err)
		}
		if err := <-accepted; err != io.EOF {
			t.Errorf("Accept: %v", err)
		}
		broken(t, v)
		broken(t, d)
		if _, err := relay.Open(header, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Open: %v", err)
		}
		if err := relay.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestOnlyRelaysOpen(t *testing.T) {
	_, remote, _, _ := memLinks(t)
	if s, err := remote.Open(header, nil); err == nil {
		t.Errorf("a remote opened %v", s)
	}
}

// A newer run replaces an older one, never itself.
func TestRunReplaces(t *testing.T) {
	run := func(n uint64, id byte) framing.Run { return framing.Run{Number: n, ID: [16]byte{id}} }
	for _, c := range []struct {
		run, old framing.Run
		want     bool
	}{
		{run(2, 1), run(1, 2), true},
		{run(1, 1), run(2, 2), false},
		{run(1, 1), run(1, 2), true}, // the later arrival
		{run(1, 1), run(1, 1), false},
	} {
		if got := c.run.Replaces(c.old); got != c.want {
			t.Errorf("%v replaces %v: %v", c.run, c.old, got)
		}
	}
}
