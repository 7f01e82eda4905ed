package acme

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetriesWhenCAIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, offline)
		manage(t, k)
		for i := range 15 {
			ev := next(events, Failed)
			step := min(minUnreached<<i, maxUnreached)
			if wait := time.Until(ev.Next); wait < step*3/4-time.Millisecond || wait > step*5/4 {
				t.Errorf("wait %d is %v", i, wait)
			}
		}

		// A kick is a reason to try at once.
		before := time.Now()
		k.Kick()
		next(events, Failed)
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("kicked, it took %v", took)
		}
		k.Close()
	})
}

// Whoever kicks may be the one who has the orders fail: such kicks set fewer and fewer waits
// aside, until there is a certificate. Then the first one counts at once again.
func TestKicksWithoutEndMakeNoOrdersWithoutEnd(t *testing.T) {
	for what, rehearsal := range map[string]*Rehearsal{"the CA is away": nil, "the rehearsal fails": {
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			return serving(web(200, "a relay"))(ctx)
		},
	}} {
		synctest.Test(t, func(t *testing.T) {
			k, events := newKeeper(t, Config{Rehearsal: rehearsal}, offline)
			began := time.Now()
			manage(t, k)
			failed := func() (n int) {
				synctest.Wait()
				for len(events) > 0 {
					if ev := <-events; ev.Kind == Failed {
						n++
					}
				}
				return n
			}
			kickFor := func(d time.Duration) {
				for range int(d / time.Second) {
					time.Sleep(time.Second)
					k.Kick()
				}
			}
			kickFor(time.Hour)
			if n := failed(); n < 12 || n > 24 { // some 13 without a kick
				t.Errorf("%s: %d attempts in an hour", what, n)
			}
			kickFor(time.Hour)
			if n := failed(); n > 12 { // some 6
				t.Errorf("%s: %d attempts in the second hour", what, n)
			}
			put(t, k, time.Now(), time.Now().Add(time.Hour))
			kickFor(maxUnreached * 3 / 2)
			if _, err := k.Certificate(name); err != nil {
				t.Fatalf("%s: after %v: %v", what, time.Since(began), err)
			}
			for failed() == 0 { // until it is due, and a while longer
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour / 20)
			failed()
			k.Kick()
			time.Sleep(2 * time.Second) // which the question to the CA takes, that is away
			if failed() == 0 {
				t.Errorf("%s: no attempt with the first kick since there was a certificate", what)
			}
			k.Close()
		})
	}
}

// A kick that has no wait to set aside leaves the next one as good, and one an hour always
// counts.
func TestAKickCountsWhereItSetsAWaitAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k kicks
		tries := make([]backoff, 1)
		kick := func(unreached, want bool) {
			t.Helper()
			tries[0].failed(unreached, 0)
			k.kick(tries)
			if got := !time.Now().Before(tries[0].next); got != want {
				t.Errorf("the next attempt is at once: %v, want %v", got, want)
			}
		}
		k.kick(tries) // no attempt has failed
		kick(false, false)
		time.Sleep(maxRefused)
		k.kick(tries) // it is time anyway
		kick(true, true)
		kick(true, false)
		for range 30 {
			time.Sleep(maxKicked)
			kick(true, true)
		}
	})
}

func TestRetriesWhenCARefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, func(*http.Request) (*http.Response, error) {
			return reply(403, strings.NewReader(`{"type":"urn:ietf:params:acme:error:unauthorized","detail":"no"}`)), nil
		})
		manage(t, k)
		for i := range 6 {
			ev := next(events, Failed)
			step := min(minRefused<<(2*i), maxRefused)
			if wait := time.Until(ev.Next); wait < step*3/4-time.Millisecond || wait > step*5/4 {
				t.Errorf("wait %d is %v", i, wait)
			}
			var p *Problem
			if !errors.As(ev.Err, &p) || p.Type != "unauthorized" || p.Detail != "no" || p.Status != 403 {
				t.Errorf("error %v", ev.Err)
			}
			k.Kick() // is no reason
		}
		k.Close()
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, func(*http.Request) (*http.Response, error) {
			return reply(429, strings.NewReader(`{"type":"urn:ietf:params:acme:error:rateLimited"}`),
				"Retry-After", "7200"), nil
		})
		manage(t, k)
		ev := next(events, Failed)
		if wait := time.Until(ev.Next); wait != 2*time.Hour {
			t.Errorf("wait %v", wait)
		}
		k.Close()
	})
	synctest.Test(t, func(t *testing.T) { // a CA in maintenance, without a problem document
		k, events := newKeeper(t, Config{}, func(*http.Request) (*http.Response, error) {
			return reply(503, strings.NewReader("later"), "Content-Type", "text/plain", "Retry-After", "3600"), nil
		})
		manage(t, k)
		if wait := time.Until(next(events, Failed).Next); wait != time.Hour {
			t.Errorf("wait %v", wait)
		}
		k.Close()
	})
	for v, want := range map[string]time.Duration{
		"":                              0,
		"soon":                          0,
		"-1":                            0,
		"60":                            time.Minute,
		"2000000000":                    maxRetryAfter,
		"Sat, 01 Jan 2000 00:02:00 GMT": time.Minute,
		"Fri, 31 Dec 1999 00:00:00 GMT": 0,
		"Sat, 01 Jan 2050 00:02:00 GMT": maxRetryAfter,
	} {
		if got := parseRetryAfter(v, time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)); got != want {
			t.Errorf("Retry-After %q: %v", v, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Sat, 01 Jan 2000 00:02:00 GMT")
	f.Fuzz(func(t *testing.T, v string) {
		if d := parseRetryAfter(v, time.Now()); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", v, d)
		}
	})
}

// Retries must not outlast what is left of a short life.
func TestBackoffOfShortLivedCertificate(t *testing.T) {
	var b backoff
	for range 20 {
		b.fail(errors.New("refused"), time.Hour)
		if wait := time.Until(b.next); wait > time.Hour/20*5/4 {
			t.Fatalf("wait %v", wait)
		}
	}
}

func TestLargeAnswerIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bytes.NewReader(make([]byte, 10*maxResponse))
		k, events := newKeeper(t, Config{}, func(*http.Request) (*http.Response, error) {
			return reply(200, body), nil
		})
		manage(t, k)
		if ev := next(events, Failed); !errors.Is(ev.Err, errResponseTooLarge) {
			t.Errorf("error %v", ev.Err)
		}
		if read := body.Size() - int64(body.Len()); read > maxResponse+1 {
			t.Errorf("%d bytes were read", read)
		}
		k.Close()
	})
	b := &limitedBody{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, maxResponse))), left: maxResponse}
	if n, err := io.Copy(io.Discard, b); n != maxResponse || err != nil {
		t.Errorf("an answer of just the limit: %d, %v", n, err)
	}
}
