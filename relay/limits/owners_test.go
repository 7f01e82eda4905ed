package limits_test

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/relay/limits"
)

var (
	alice = ed25519.PublicKey("alice's key, of thirty-two bytes")
	bob   = ed25519.PublicKey("bob's key, which has as many too")
)

func owners(identity, name limits.Owner) *limits.Owners {
	o := new(limits.Owners)
	o.Set(limits.Config{Identity: identity, Name: name})
	return o
}

// visit begins a visit and expects a reason.
func visit(t *testing.T, o *limits.Owners, name string, key ed25519.PublicKey, want limits.Reason) *limits.Visit {
	t.Helper()
	v, why := o.Begin(name, key, false)
	if why != want {
		t.Fatalf("a visitor of %s is %v, want %v", name, why, want)
	}
	return v
}

// A name has so many visitors, an identity so many with all of its names, and
// neither touches another one.
func TestStreams(t *testing.T) {
	o := owners(limits.Owner{Streams: 5}, limits.Owner{Streams: 3})
	var held []*limits.Visit
	for range 3 {
		held = append(held, visit(t, o, "a.test", alice, limits.None))
	}
	visit(t, o, "a.test", alice, limits.NameStreams)
	held = append(held, visit(t, o, "b.test", alice, limits.None), visit(t, o, "b.test", alice, limits.None))
	visit(t, o, "b.test", alice, limits.IdentityStreams)
	visit(t, o, "c.test", bob, limits.None).End()
	held[0].End()
	held[0].End()
	visit(t, o, "b.test", alice, limits.None).End()
	if _, why := o.Begin("b.test", alice, true); why != limits.None {
		t.Errorf("a CA's validation is %v", why)
	}
	if o.Counts.Of(limits.NameStreams) != 1 || o.Counts.Of(limits.IdentityStreams) != 1 {
		t.Error("the counts are wrong")
	}
}

// Ten seconds' worth of new visitors may come at once, then as many as the rate
// says. One that is refused for the identity does not count for the name.
func TestNewVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{ConnsPerSecond: 3}, limits.Owner{ConnsPerSecond: 2})
		for range 20 {
			visit(t, o, "a.test", alice, limits.None).End()
		}
		visit(t, o, "a.test", alice, limits.NameRate)
		for range 10 {
			visit(t, o, "b.test", alice, limits.None).End()
		}
		visit(t, o, "b.test", alice, limits.IdentityRate)
		visit(t, o, "c.test", bob, limits.None).End()
		time.Sleep(time.Second)
		for range 2 {
			visit(t, o, "a.test", alice, limits.None).End()
		}
		visit(t, o, "a.test", alice, limits.NameRate)
	})
}

// What a token says counts for its name in the place of both limits, and only
// where it says something.
func TestOverride(t *testing.T) {
	more := limits.Owner{Streams: 4, ConnsPerSecond: -1, Names: 100}
	o := owners(limits.Owner{Streams: 2, ConnsPerSecond: 1}, limits.Owner{Streams: 1})
	o.Override = func(name string, key ed25519.PublicKey) limits.Owner {
		if name == "more.test" && key.Equal(alice) {
			return more
		}
		return limits.Owner{}
	}
	for range 50 {
		visit(t, o, "more.test", alice, limits.None).End()
	}
	for range 4 {
		visit(t, o, "more.test", alice, limits.None)
	}
	visit(t, o, "more.test", alice, limits.NameStreams)
	visit(t, o, "a.test", alice, limits.None) // the others of the identity still have theirs
	visit(t, o, "b.test", alice, limits.None)
	visit(t, o, "c.test", alice, limits.IdentityStreams)
	visit(t, o, "d.test", bob, limits.None)
	visit(t, o, "d.test", bob, limits.NameStreams)
	more.Streams = 5
	o.Set(limits.Config{Name: limits.Owner{Streams: 1}})
	visit(t, o, "more.test", alice, limits.None)
	visit(t, o, "more.test", alice, limits.NameStreams)
}

// flow carries n bytes to the remote and as many from it, within a synctest bubble,
// and returns how long that took.
func flow(t *testing.T, v *limits.Visit, n int64) time.Duration {
	visitor, a := memconn.Pipe(0)
	remote, b := memconn.Pipe(0)
	start := time.Now()
	go io.CopyN(visitor, zeros{}, n)
	go io.CopyN(remote, zeros{}, n)
	ended := make(chan struct{}, 2)
	for _, c := range []*memconn.Conn{visitor, remote} {
		go func() {
			io.CopyN(io.Discard, c, n)
			ended <- struct{}{}
		}()
	}
	done := make(chan duplex.Result, 1)
	duplex.Start(a, b, duplex.Options{PaceAB: v.In(), PaceBA: v.Out()}, func(r duplex.Result) { v.End(); done <- r })
	<-ended
	<-ended
	took := time.Since(start)
	visitor.Close()
	remote.Close()
	if r := <-done; r.AtoB != n || r.BtoA != n || r.Err != nil {
		t.Errorf("%+v", r)
	}
	return took
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// near reports whether a time is within five per cent of another one.
func near(got, want time.Duration) bool { return got > want*95/100 && got < want*105/100 }

// Whatever a name carries, on however many streams, each way it gets just its
// bandwidth, after the second's worth that may come at once.
func TestBandwidth(t *testing.T) {
	const rate = 1 << 20
	for _, streams := range []int{1, 7} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := owners(limits.Owner{}, limits.Owner{Bandwidth: rate})
				took := make(chan time.Duration)
				for range streams {
					go func() { took <- flow(t, visit(t, o, "a.test", alice, limits.None), 21*rate/int64(streams)) }()
				}
				var last time.Duration
				for range streams {
					last = max(last, <-took)
				}
				if !near(last, 20*time.Second) {
					t.Errorf("21 MiB both ways took %v", last)
				}
				if other := flow(t, visit(t, o, "b.test", alice, limits.None), rate); other != 0 {
					t.Errorf("a MiB of another name took %v", other)
				}
				if n := o.Counts.Of(limits.NameBandwidth); n != int64(streams) {
					t.Errorf("%d streams had to wait, of %d", n, streams)
				}
			})
		})
	}
}

// Two names of an identity share what it has.
func TestBandwidthOfIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{Bandwidth: 1 << 20}, limits.Owner{Bandwidth: 900 << 10})
		took := make(chan time.Duration)
		for _, name := range []string{"a.test", "b.test"} {
			go func() { took <- flow(t, visit(t, o, name, alice, limits.None), 10<<20) }()
		}
		if last := max(<-took, <-took); !near(last, 19*time.Second) {
			t.Errorf("twice 10 MiB took %v", last)
		}
	})
}

// A small message among bulk waits for those that came before it, and not for what
// they may send later.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{}, limits.Owner{Bandwidth: 1 << 20})
		var bulk sync.WaitGroup
		defer bulk.Wait()
		for range 10 {
			bulk.Go(func() { flow(t, visit(t, o, "a.test", alice, limits.None), 5<<20) })
		}
		time.Sleep(20 * time.Second)
		if took := flow(t, visit(t, o, "a.test", alice, limits.None), 100); took > 2*time.Second {
			t.Errorf("100 bytes took %v", took)
		}
	})
}

// A bandwidth that is set counts for the streams that there are.
func TestBandwidthIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{}, limits.Owner{Bandwidth: 1 << 20})
		took := make(chan time.Duration)
		go func() { took <- flow(t, visit(t, o, "a.test", alice, limits.None), 41<<20) }()
		time.Sleep(20 * time.Second)
		o.Set(limits.Config{Name: limits.Owner{Bandwidth: 4 << 20}})
		if d := <-took; !near(d, 25*time.Second) {
			t.Errorf("took %v", d)
		}
		o.Set(limits.Config{})
		if d := flow(t, visit(t, o, "a.test", alice, limits.None), 64<<20); d != 0 {
			t.Errorf("without a limit it took %v", d)
		}
	})
}

// A CA's validation may carry little, whatever else there is. What one way has reserved
// for a read takes nothing from the other.
func TestValidation(t *testing.T) {
	o := owners(limits.Owner{}, limits.Owner{Streams: 1, ConnsPerSecond: 1, BytesPerMonth: 1})
	visit(t, o, "a.test", alice, limits.None)
	v, why := o.Begin("a.test", alice, true)
	if why != limits.None {
		t.Fatal(why)
	}
	for name, p := range map[string]*limits.Pacer{"in": v.In(), "out": v.Out()} {
		total := 0
		for range 3 {
			n, _ := p.Reserve(limits.ValidationBytes * 2 / 3)
			total += n
		}
		if total != limits.ValidationBytes {
			t.Errorf("%s: %d bytes", name, total)
		}
		p.Return(10)
		if n, _ := p.Reserve(20); n != 10 {
			t.Errorf("%s: %d of 10 bytes given back", name, n)
		}
	}
}

// Names and identities without visitors are forgotten, those that have some are
// not.
func TestAccountsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owners(limits.Owner{}, limits.Owner{Streams: 1, Bandwidth: 1 << 20})
		visit(t, o, "busy.test", bob, limits.None)
		for i := range 100_000 {
			visit(t, o, fmt.Sprint(i), alice, limits.None).End()
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		if n := o.Accounts(); n > 4*limits.MinAccounts {
			t.Errorf("%d accounts", n)
		}
		visit(t, o, "busy.test", bob, limits.NameStreams)
	})
}

// A thousand streams that would carry without end, which one address may have, make
// a small message wait for some seconds: the more wait, the shorter their turns are.
func TestTurnsAreShortWhereManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, streams = 32 << 20, 1000
		o := owners(limits.Owner{}, limits.Owner{Bandwidth: rate})
		var bulk sync.WaitGroup
		var carried atomic.Int64
		start, until := time.Now(), time.Now().Add(5*time.Minute)
		for range streams {
			v := visit(t, o, "a.test", alice, limits.None)
			bulk.Go(func() {
				for time.Now().Before(until) {
					n, wait := v.Out().Reserve(1 << 20)
					time.Sleep(wait)
					carried.Add(int64(n))
				}
			})
		}
		small := visit(t, o, "a.test", alice, limits.None)
		for range 4 {
			time.Sleep(time.Minute)
			n, wait := small.Out().Reserve(1000)
			if n != 1000 || wait > 4*time.Second {
				t.Errorf("a message of %d bytes waits %v", n, wait)
			}
		}
		bulk.Wait()
		if due := int64(rate * time.Since(start).Seconds()); carried.Load() < due*9/10 || carried.Load() > due+rate+streams<<20 {
			t.Errorf("%d bytes were carried, want %d", carried.Load(), due)
		}
	})
}

// Taking a limit of the month away cuts nobody in the moment that it goes.
func TestMonthWithoutALimit(t *testing.T) {
	o := owners(limits.Owner{}, limits.Owner{BytesPerMonth: 1 << 40})
	v := visit(t, o, "a.test", alice, limits.None)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100_000 {
			most := int64(1 << 40)
			if i%2 == 0 {
				most = -1
			}
			o.Set(limits.Config{Name: limits.Owner{BytesPerMonth: most}})
		}
	}()
	for cut := 0; cut == 0; {
		select {
		case <-done:
			return
		default:
		}
		if n, _ := v.In().Reserve(1); n == 0 {
			cut++
			t.Error("a stream was cut")
		}
	}
	<-done
}
