package framing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

func pipe() (a, b *memconn.Conn) { return memconn.Pipe(0) }

// A slow is a relay's handler that takes its time for each answer.
type slow struct {
	began chan string // the names, as it begins with them
	until chan error  // one answer each
}

func newSlow() *slow { return &slow{make(chan string, 2*framing.MaxAsked), make(chan error)} }

func (s *slow) wait(ctx context.Context, name string) error {
	s.began <- name
	select {
	case err := <-s.until:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) handler() framing.Handler {
	return framing.Handler{
		Claim: func(ctx context.Context, c framing.Claim) (framing.Claimed, error) {
			return framing.Claimed{}, s.wait(ctx, c.Name)
		},
		Release: s.wait,
	}
}

// While a claim takes long, PING is answered and streams run.
func TestALongClaimHoldsNothingElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		l, p := handMade{minor: 2, handler: s.handler()}.remote(t)
		p.send(claimWithRules(nil), pingByHand)
		p.expect(pong)
		if _, err := l.Open(header, []byte("x")); err != nil {
			t.Error(err)
		}
		p.nextSYN()
		for range 20 { // long after a silent link is given up
			time.Sleep(framing.PingInterval)
			p.send(pingByHand)
			for typ := byte(0); typ != pong; typ, _ = p.next() {
			}
		}
		s.until <- nil
		p.expect(claimed)
		up(t, l)
	})
}

// One claim or release is decided about after the other, in the order in which they
// came, and that is the order of the answers.
func TestClaimsAndReleasesAreAnsweredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		l, p := handMade{minor: 2, handler: s.handler()}.remote(t)
		for i := range 20 {
			name := str8(fmt.Sprint(i))
			if i%3 == 0 {
				p.send(rec(release, name))
			} else {
				p.send(rec(claim, name, str16(""), []byte{0}, str16("")))
			}
		}
		for i := range 20 {
			synctest.Wait()
			if name := <-s.began; name != fmt.Sprint(i) || len(s.began) > 0 {
				t.Fatalf("%s is decided about as number %d, and %d more", name, i, len(s.began))
			}
			want := byte(claimed)
			switch {
			case i%3 == 0:
				want = released
				s.until <- nil
			case i%2 == 0:
				want = denied
				s.until <- &framing.Denial{Code: framing.DeniedTaken}
			default:
				s.until <- nil
			}
			if b := p.expect(want); string(b[1:1+b[0]]) != fmt.Sprint(i) {
				t.Errorf("answer %d is about %q", i, b)
			}
		}
		up(t, l)
	})
}

// MaxAsked claims may wait; with one more the link ends.
func TestTooManyWaitingClaimsEndTheLink(t *testing.T) {
	for name, more := range map[string][]byte{"claim": claimWithRules(nil), "release": rec(release, str8("x"))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlow()
				l, p := handMade{minor: 2, handler: s.handler()}.remote(t)
				for range framing.MaxAsked {
					p.send(claimWithRules(nil))
				}
				up(t, l)
				p.send(more)
				violated(t, l)
			})
		})
	}
}

// A remote keeps to that by itself: what is asked beyond it waits for its turn.
func TestRemoteAsksForNoMoreThanMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		a, b := pipe()
		relay, remote := links(t, a, b, s.handler(), framing.Handler{})
		answers := make(chan error, framing.MaxAsked-1)
		for i := range framing.MaxAsked - 1 {
			go func() {
				_, err := remote.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)})
				answers <- err
			}()
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := remote.Claim(short, framing.Claim{Name: "more"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one more was asked for: %v", err)
		}
		if err := remote.Release(short, "more"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one more was given back: %v", err)
		}
		up(t, relay, remote)
		more := make(chan error, 1)
		go func() {
			_, err := remote.Claim(t.Context(), framing.Claim{Name: "more"})
			more <- err
		}()
		for range framing.MaxAsked {
			<-s.began
			s.until <- nil
		}
		for range framing.MaxAsked - 1 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if err := <-more; err != nil {
			t.Errorf("the one that has waited: %v", err)
		}
	})
}

// A remote sends no flood of claims: it may claim all its names at once, and from then
// on as many as the relay takes, whatever its minor version.
func TestRemoteSendsNoFloodOfClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe()
		relay, remote := links(t, a, b, framing.Handler{Claim: grantAll}, framing.Handler{})
		for range 4 {
			var wg sync.WaitGroup
			for i := range framing.MaxNames {
				wg.Go(func() {
					if _, err := remote.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		up(t, relay, remote)
	})
}

// A link to an older relay has room for 64 names: a further claim is denied here, and
// the relay does not hear of it.
func TestOlderRelayIsAskedFor64Names(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{minor: 2}.relay(t)
		for i := range 65 {
			answer := make(chan error, 1)
			go func() {
				_, err := l.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)})
				answer <- err
			}()
			if i < 64 {
				p.expect(claim)
				p.send(rec(claimed, str8(fmt.Sprint(i)), u32(0)))
			}
			err := <-answer
			var d *framing.Denial
			if i < 64 && err != nil || i == 64 && (!errors.As(err, &d) || d.Code != framing.DeniedLimit || !strings.Contains(d.Text, "older")) {
				t.Errorf("name %d: %v", i, err)
			}
		}
		if _, err := l.Claim(t.Context(), framing.Claim{Name: "label", Word: "blog"}); err == nil || !strings.Contains(err.Error(), "too old") {
			t.Errorf("a name made with a word: %v", err)
		}
		if err := l.Unclaim(t.Context(), "1"); !errors.Is(err, framing.ErrNoUnclaim) {
			t.Errorf("unclaim: %v", err)
		}
		go l.Probe(time.Second)
		p.expect(ping)
		p.send(rec(pong, make([]byte, 8)))
		up(t, l)
	})
}

// A name that is taken off a link makes room on it, and no other name is touched.
func TestUnclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone []string
		a, b := pipe()
		relay, remote := links(t, a, b, framing.Handler{Claim: grantAll, Unclaim: func(name string) { gone = append(gone, name) }}, framing.Handler{})
		for i := range framing.MaxNames {
			if _, err := remote.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: "more"}); err == nil {
			t.Error("there was room for one more")
		}
		if err := remote.Unclaim(t.Context(), "7"); err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: "more"}); err != nil {
			t.Errorf("in the room of the one that is gone: %v", err)
		}
		if len(gone) != 1 || gone[0] != "7" {
			t.Errorf("the relay was told of %q", gone)
		}
		up(t, relay, remote)
	})
}

// A link that ends while claims wait ends the handler's context and decides about
// none of the others. The bubble ends only when no goroutine is left.
func TestLinkEndsWhileClaimsWait(t *testing.T) {
	for name, end := range map[string]func(l *framing.Link, p *peer){
		"closed here":  func(l *framing.Link, _ *peer) { l.Close() },
		"lost":         func(_ *framing.Link, p *peer) { p.conn.Reset() },
		"broken rules": func(_ *framing.Link, p *peer) { p.send(rec(0x7f)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlow()
				l, p := handMade{minor: 2, handler: s.handler()}.remote(t)
				p.send(claimWithRules(nil), rec(release, str8("x")), claimWithRules(nil))
				synctest.Wait()
				p.discard()
				end(l, p)
				<-l.Done()
				synctest.Wait()
				if n := len(s.began); n != 1 {
					t.Errorf("%d were decided about, want the first alone", n)
				}
			})
		})
	}
}

// The context of a claim is not done while the link is up.
func TestContextOfAClaimOutlivesTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe()
		handler := framing.Handler{Claim: func(ctx context.Context, _ framing.Claim) (framing.Claimed, error) {
			return framing.Claimed{}, ctx.Err()
		}}
		_, remote := links(t, a, b, handler, framing.Handler{})
		for i := range 5 {
			if _, err := remote.Claim(t.Context(), framing.Claim{Name: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
	})
}

// What minor version 2 added arrives.
func TestAnswersArriveWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := framing.Denial{Name: "b", Code: framing.DeniedLimit, Text: "too many", Hint: "come\x1b[2J back", Retry: 1500 * time.Millisecond}
		gone := make(chan *framing.Denial, 1)
		a, b := pipe()
		relay, remote := links(t, a, b, framing.Handler{Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
			if c.Name == "a" {
				return framing.Claimed{OrderIn: 202 * time.Minute}, nil
			}
			return framing.Claimed{}, &why
		}}, framing.Handler{Lost: func(d *framing.Denial) { gone <- d }})
		if c, err := remote.Claim(t.Context(), framing.Claim{Name: "a"}); err != nil || c.OrderIn != 202*time.Minute {
			t.Errorf("claimed %+v, %v", c, err)
		}
		want := why
		want.Hint, want.Retry = "come [2J back", 2*time.Second // whole seconds, none too early
		_, err := remote.Claim(t.Context(), framing.Claim{Name: "b"})
		var d *framing.Denial
		if !errors.As(err, &d) || *d != want {
			t.Errorf("denied %+v, want %+v", d, want)
		}
		why.Name, want.Name = "a", "a"
		why.Retry, want.Retry = 1<<62, (1<<32-1)*time.Second
		relay.Revoke(why)
		if d := <-gone; *d != want {
			t.Errorf("lost %+v, want %+v", d, want)
		}
	})
}

// A name that is taken back, or given back, makes room for another on the link.
func TestNamesThatAreGoneMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe()
		relay, remote := links(t, a, b, framing.Handler{Claim: grantAll, Release: func(context.Context, string) error { return nil }}, framing.Handler{})
		claim := func(name string) error {
			time.Sleep(time.Second) // within the flood limit
			_, err := remote.Claim(t.Context(), framing.Claim{Name: name})
			return err
		}
		for i := range framing.MaxNames {
			if err := claim(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		if claim("more") == nil {
			t.Error("there was room for one more")
		}
		if err := claim("7"); err != nil {
			t.Errorf("a name that the link has: %v", err)
		}
		relay.Revoke(framing.Denial{Name: "0", Code: framing.DeniedBanned})
		if err := remote.Release(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"more", "and more"} {
			if err := claim(name); err != nil {
				t.Error(err)
			}
		}
		if claim("too much") == nil {
			t.Error("there was room for one more")
		}
	})
}

// Each answer of a relay to RELEASE, and that of one which does not know it.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]error{"mine": nil, "other": &framing.NotReleased{Name: "x", Text: "another device's"},
			"later": &framing.NotReleased{Text: "moving", Later: true}, "broken": errors.New("the disk is full")}
		a, b := pipe()
		_, remote := links(t, a, b, framing.Handler{Release: func(_ context.Context, name string) error { return answers[name] }}, framing.Handler{})
		for name, want := range map[string]*framing.NotReleased{
			"mine":   nil,
			"other":  {Name: "other", Text: "another device's"},
			"later":  {Name: "later", Text: "moving", Later: true},
			"broken": {Name: "broken", Text: "the relay could not do it now", Later: true},
		} {
			var not *framing.NotReleased
			err := remote.Release(t.Context(), name)
			if errors.As(err, &not); want == nil && err != nil || want != nil && (not == nil || *not != *want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := remote.Release(t.Context(), string(make([]byte, 254))); err == nil {
			t.Error("a name of 254 bytes was given back")
		}
		_, remote, _, _ = memLinks(t)
		var not *framing.NotReleased
		if err := remote.Release(t.Context(), "x"); !errors.As(err, &not) || not.Later {
			t.Errorf("a relay that takes no names back: %v", err)
		}
	})
}

// A relay of an older minor version is not sent RELEASE, which would end the link.
func TestNoReleaseForAnOlderRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for minor := range byte(2) {
			l, p := handMade{minor: minor}.relay(t)
			if err := l.Release(t.Context(), "x"); !errors.Is(err, framing.ErrNoRelease) {
				t.Errorf("minor version %d: %v", minor, err)
			}
			go l.Probe(time.Second)
			p.expect(ping)
			p.send(rec(pong, make([]byte, 8)))
			up(t, l)
		}
	})
}

// An answer of the wrong kind, or out of order, ends the link.
func TestAnswersOutOfOrderEndTheLink(t *testing.T) {
	for name, answer := range map[string][]byte{
		"CLAIMED for a release":  rec(claimed, str8("x"), u32(0)),
		"DENIED for a release":   rec(denied, str8("x"), u16(1), str16(""), str16(""), u32(0)),
		"RELEASED of another":    rec(released, str8("y"), []byte{1}, str16("")),
		"RELEASED for the claim": rec(released, str8("z"), []byte{1}, str16("")),
		"CLAIMED too early":      rec(claimed, str8("z"), u32(0)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: 2}.relay(t)
				go l.Release(t.Context(), "x")
				p.expect(release)
				go l.Claim(t.Context(), framing.Claim{Name: "z"})
				p.expect(claim)
				p.send(answer)
				violated(t, l)
			})
		})
	}
}

// LOST for a name whose claim has no answer is told once, and not at all once nobody waits
// for the answer. One that comes late all the same gives the link the name, which can be lost.
func TestLostIsToldOnceOfAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(map[string]int)
		l, p := handMade{minor: 2, handler: framing.Handler{Lost: func(d *framing.Denial) { told[d.Name]++ }}}.relay(t)
		lose := func(name string, want int) {
			t.Helper()
			for range 5 {
				p.send(rec(lost, str8(name), u16(7), str16(""), str16(""), u32(0)))
			}
			synctest.Wait()
			if told[name] != want {
				t.Errorf("that %s is lost was told %d times, want %d", name, told[name], want)
			}
		}
		ctx, giveUp := context.WithCancel(t.Context())
		go l.Claim(ctx, framing.Claim{Name: "given up"})
		p.expect(claim)
		giveUp()
		synctest.Wait()
		lose("given up", 0)
		answer := make(chan error)
		go func() {
			_, err := l.Claim(t.Context(), framing.Claim{Name: "x"})
			answer <- err
		}()
		p.expect(claim)
		lose("x", 1)
		p.send(rec(claimed, str8("given up"), u32(0)), rec(claimed, str8("x"), u32(0)))
		if err := <-answer; err != nil {
			t.Error(err)
		}
		lose("given up", 1)
		lose("x", 2)
		lose("never claimed", 0)
		up(t, l)
	})
}
