//go:build linux || darwin || freebsd

package handover_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"keystay/internal/handover"
)

// someCut has every field.
var someCut = handover.Cut{Identity: "a", Name: "b", Address: "c", Addresses: "d", Code: 1, Text: "e", Hints: []string{"f"}, Earlier: []string{"g"}}

// noCut is for what must not hear of any.
func noCut(handover.Cut) {}

// The old process hears of every claim and every cut, in order, until the new one ends.
func TestClaimsAndCutsAreTold(t *testing.T) {
	c, path := control(t)
	ln := listen(t)
	defer ln.Close()
	const n = 3000
	heard := make(chan []handover.Claim, 1)
	go func() {
		var list []handover.Claim
		defer func() { heard <- list }()
		s, err := c.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Offer(ctx, []handover.Socket{{For: "public", Listener: ln}}, nil); err != nil {
			t.Error(err)
		}
		s.Told(func(c handover.Claim) {
			list = append(list, c)
		}, func(c handover.Cut) {
			if !reflect.DeepEqual(c, someCut) {
				t.Errorf("heard of %+v", c)
			}
			if list = append(list, handover.Claim{Name: "a cut"}); len(list) == n+3 {
				s.Interrupt()
			}
		})
		s.Close()
	}()
	p := taken(t, path)
	var want []handover.Claim
	for i := range n {
		claim := handover.Claim{Name: fmt.Sprintf("n%d.relay.test", i), Key: make([]byte, 32), Number: uint64(i), Run: make([]byte, 16), Replica: i%2 == 0}
		p.Claimed(claim)
		want = append(want, claim)
		if i%1000 == 999 {
			if !p.Cut(someCut) {
				t.Fatal("the old process does not listen for cuts")
			}
			want = append(want, handover.Claim{Name: "a cut"})
		}
	}
	got := <-heard
	p.Close()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d claims and cuts were heard, want %d", len(got), len(want))
	}
}

// taken takes over from the old process that listens at path, sockets and all.
func taken(t *testing.T, path string) *handover.New {
	t.Helper()
	p, err := handover.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	sockets, _, err := p.Take()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		s.Listener.Close()
	}
	if err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := p.Serving(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Close ends Told.
func TestCloseEndsTold(t *testing.T) {
	c, path := control(t)
	ln := listen(t)
	defer ln.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		s, err := c.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.Offer(context.Background(), []handover.Socket{{For: "public", Listener: ln}}, nil); err != nil {
			t.Error(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); s.Told(func(handover.Claim) {}, noCut) }()
		s.Close()
		<-ended
	}()
	taken(t, path).Close()
	<-over
}

// older lets a process take over from one that says only this to let it begin, and returns what
// that is told.
func older(t *testing.T, says string) (p *handover.New, told <-chan string) {
	c, path := control(t)
	said := make(chan string, 1)
	go func() {
		conn, err := c.Listener.AcceptUnix()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 4096)
		var all string
		for _, answer := range []string{`{"op":"end"}`, says, ""} { // to takeover, ready and serving
			n, err := conn.Read(b)
			if err != nil {
				t.Error(err)
			}
			all = string(b[:n])
			if answer != "" {
				conn.Write([]byte(answer + "\n"))
			}
		}
		for {
			n, err := conn.Read(b)
			if err != nil {
				break
			}
			all += string(b[:n])
		}
		said <- all
	}()
	return taken(t, path), said
}

// A process of a version that listens neither for claims nor for cuts is told nothing, so that
// nothing waits for it.
func TestOlderProcessIsToldNothing(t *testing.T) {
	p, said := older(t, `{"op":"go"}`)
	for range 10_000 { // more than the socket's buffers hold
		p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32)})
	}
	if p.Cut(someCut) {
		t.Error("it seems to listen for cuts")
	}
	p.Close()
	if all := <-said; all != `{"op":"serving"}`+"\n" {
		t.Errorf("it was told %.100q", all)
	}
}

// One that listens for cuts, and does not know who has handed over to an identity, is told all
// the same.
func TestOlderProcessIsToldOfCuts(t *testing.T) {
	p, said := older(t, `{"op":"go","claims":true,"cuts":true}`)
	if !p.Cut(handover.Cut{Identity: "a"}) {
		t.Error("it does not seem to listen for cuts")
	}
	if p.Cut(handover.Cut{Identity: "b", Earlier: []string{"c"}}) {
		t.Error("it seems to know of earlier keys")
	}
	p.Close()
	if all := <-said; !strings.Contains(all, `"identity":"a"`) || !strings.Contains(all, `"identity":"b"`) {
		t.Errorf("it was told %.300q", all)
	}
}

// When the old process has ended, nothing is kept for it.
func TestNothingIsToldWhenTheOldProcessHasEnded(t *testing.T) {
	p, s := tookOver(t)
	if p.Gone() {
		t.Error("it has gone at once")
	}
	s.Close()
	if _, _, err := p.Visitor(); err == nil {
		t.Fatal("a visitor came")
	}
	if !p.Gone() {
		t.Error("it is not known that it has gone")
	}
	p.Cut(someCut)
	p.Close()
}

// A process that does not read for long is told all later, in order, and nobody
// has waited for it meanwhile.
func TestClaimsWaitForAProcessThatIsStuck(t *testing.T) {
	p, s := tookOver(t)
	const n = 20_000 // more than the socket's buffers hold
	for i := range n {
		p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32), Number: uint64(i)})
	}
	heard := make(chan bool, 1)
	next := uint64(0)
	go func() {
		heard <- s.Told(func(c handover.Claim) {
			if c.Number != next {
				t.Errorf("claim %d in the place of %d", c.Number, next)
			}
			if next++; next == n {
				s.Interrupt()
			}
		}, noCut)
	}()
	if missed := <-heard; missed || next != n {
		t.Errorf("%d claims were heard, missed %v", next, missed)
	}
	p.Close()
	s.Close()
}

// What waits for it is bounded. Beyond that it hears that it has missed something,
// behind what it has not, and then nothing more.
func TestProcessThatMissesClaimsIsToldSo(t *testing.T) {
	for name, overflow := range map[string]func(*handover.New){
		"too many": func(p *handover.New) {
			for i := range 2 * handover.MaxUntold {
				p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32), Number: uint64(i)})
			}
		},
		"said": func(p *handover.New) {
			p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32)})
			p.Missed()
			p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32), Number: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := tookOver(t)
			overflow(p)
			next := uint64(0)
			missed := s.Told(func(c handover.Claim) {
				if c.Number != next {
					t.Errorf("claim %d in the place of %d", c.Number, next)
				}
				next++
			}, noCut)
			if !missed || next > handover.MaxUntold+10_000 {
				t.Errorf("missed %v, after %d", missed, next)
			}
			p.Close()
			s.Close()
		})
	}
}

// The end of the new process is not held up for long by one that does not read.
func TestEndDoesNotWaitForAProcessThatIsStuck(t *testing.T) {
	p, s := tookOver(t)
	for range 20_000 {
		p.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32)})
	}
	p.Close() // else this hangs
	if s.Told(func(handover.Claim) {}, noCut) {
		t.Error("the end of the new process says that something was missed")
	}
	s.Close()
}

// tookOver returns both sides of a takeover that is done.
func tookOver(t *testing.T) (*handover.New, *handover.Old) {
	t.Helper()
	c, path := control(t)
	ln := listen(t)
	t.Cleanup(func() { ln.Close() })
	offered := make(chan *handover.Old, 1)
	go func() {
		s, err := c.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.Offer(context.Background(), []handover.Socket{{For: "public", Listener: ln}}, nil); err != nil {
			t.Error(err)
		}
		offered <- s
	}()
	p := taken(t, path)
	return p, <-offered
}
