//go:build linux || darwin || freebsd

package main

import (
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"keystay/internal/handover"
	"keystay/internal/keyname"
	"keystay/relay"
	"keystay/relay/names"
)

// readings is a record that counts how often it is read. The first reading waits for begin.
type readings struct {
	names.Store
	n     atomic.Int32
	begin chan struct{}
}

func (r *readings) View(f func(names.Tx) error) error {
	r.n.Add(1)
	<-r.begin
	return r.Store.View(f)
}

// cutter returns the new process of a takeover, and a device that has got what so many earlier
// keys had, with their labels.
func cutter(t *testing.T, side *handover.New, earlier int) (p *process, r *readings, heir string, labels []string) {
	t.Helper()
	g, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	r = &readings{Store: g, begin: make(chan struct{})}
	n := &names.Names{Grants: g}
	n.Begin("relay.test")
	key, _, _ := ed25519.GenerateKey(nil)
	heir = keyname.Label(key, "")
	for left := earlier; left > 0; {
		var keys []ed25519.PublicKey
		for range min(left, 8) {
			old, _, _ := ed25519.GenerateKey(nil)
			keys, labels = append(keys, old), append(labels, keyname.Label(old, ""))
		}
		left -= len(keys)
		if _, err := n.HandOver(names.Claimant{Name: "a.relay.test", Key: key}, keys); err != nil {
			t.Fatal(err)
		}
	}
	n = &names.Names{Grants: r}
	return &process{log: slog.New(slog.DiscardHandler), takeover: &takeover{side: side}, srv: &relay.Server{Names: n}}, r, heir, labels
}

// lost is a name that a device loses for good.
func lost(heir, name string) relay.Cut {
	return relay.Cut{Identity: heir, Name: name, Why: names.Denied{Code: names.DeniedToken, Text: "the token was revoked"}}
}

// The old process, whose record is closed, is told of the keys that have handed over to an
// identity that is cut: it may have links that prove these. An identity that is kicked alone
// is its own key.
func TestOldProcessIsToldOfEarlierKeys(t *testing.T) {
	side, old := tookOver(t)
	heard := make(chan handover.Cut, 8)
	go old.Told(func(handover.Claim) {}, func(c handover.Cut) { heard <- c })
	p, r, heir, labels := cutter(t, side, 3)
	close(r.begin)
	p.cutOld(relay.Cut{Identity: heir})
	if c := <-heard; !reflect.DeepEqual(c, handover.Cut{Identity: heir}) {
		t.Errorf("heard %+v", c)
	}
	for i, want := range [][]string{slices.Sorted(slices.Values(labels)), nil} { // each once
		p.cutOld(lost(heir, "a.relay.test"))
		c := <-heard
		if slices.Sort(c.Earlier); c.Identity != heir || c.Name != "a.relay.test" || c.Code != int(names.DeniedToken) || !slices.Equal(c.Earlier, want) {
			t.Errorf("%d: heard %+v, want %q", i, c, want)
		}
	}
}

// A device that has handed over often and loses all its names makes no more to tell than one
// cut for each, and has the record read once for all that waits: beyond what waits for an old
// process everybody's visitors are cut there.
func TestNamesOfADeviceThatHasHandedOverOftenAreToldOnce(t *testing.T) {
	const earlier, many = 2*handover.MaxEarlier + 8, 300
	side, old := tookOver(t)
	heard := make(chan []handover.Cut)
	go func() {
		var list []handover.Cut
		old.Told(func(handover.Claim) {}, func(c handover.Cut) { list = append(list, c) })
		heard <- list
	}()
	p, r, heir, labels := cutter(t, side, earlier)
	p.cutOld(lost(heir, "first.relay.test"))
	for i := range many {
		p.cutOld(lost(heir, fmt.Sprintf("n%d.relay.test", i)))
	}
	close(r.begin)
	p.takeover.done = true
	p.takeover.close(nil) // once all is told
	var told []string
	list := <-heard
	for _, c := range list {
		told = append(told, c.Earlier...)
	}
	slices.Sort(told)
	slices.Sort(labels)
	if !slices.Equal(told, labels) {
		t.Errorf("it hears of %d earlier keys, want %d", len(told), len(labels))
	}
	if n := len(list); n != many+1+2 {
		t.Errorf("it hears of %d cuts", n)
	}
	if n := r.n.Load(); n > 2 {
		t.Errorf("the record was read %d times", n)
	}
}

// Once the old process has gone, nothing is read for it.
func TestCutsReadNothingWithoutAnOldProcess(t *testing.T) {
	side, old := tookOver(t)
	p, r, heir, _ := cutter(t, side, 1)
	close(r.begin)
	old.Close()
	if _, _, err := side.Visitor(); err != io.EOF {
		t.Fatal(err)
	}
	p.cutOld(lost(heir, "a.relay.test"))
	p.takeover.cuts.telling.Wait()
	if n := r.n.Load(); n != 0 {
		t.Errorf("the record was read %d times", n)
	}
}

// The old process cuts on links of the earlier keys what is cut, without its record: also what
// is cut after they were told, and by way of another one in between.
func TestOldProcessPassesEarlierKeysOn(t *testing.T) {
	second, first := tookOver(t) // as the new one, and the old
	third, ofSecond := tookOver(t)
	g, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	middle := &process{log: slog.New(slog.DiscardHandler), takeover: &takeover{side: second}}
	cuts := make(chan relay.Cut, 2)
	middle.srv = &relay.Server{Domain: "relay.test", TLS: new(tls.Config), Names: &names.Names{Grants: g},
		OnCut: func(c relay.Cut) { cuts <- c; middle.cutOld(c) }}
	defer middle.srv.Close()
	defer middle.wg.Wait()
	ended := make(chan struct{})
	go func() { defer close(ended); middle.listenTo(&oldProcess{ofSecond}) }()
	heard := make(chan handover.Cut, 2)
	go first.Told(func(handover.Claim) {}, func(c handover.Cut) { heard <- c })
	p, r, heir, labels := cutter(t, third, 1)
	close(r.begin)
	for i, want := range [][]string{labels, nil} {
		p.cutOld(lost(heir, "a.relay.test"))
		if c := <-cuts; !slices.Equal(c.Earlier, labels) {
			t.Errorf("%d: cuts %+v", i, c)
		}
		if c := <-heard; c.Identity != heir || !slices.Equal(c.Earlier, want) {
			t.Errorf("%d: heard %+v", i, c)
		}
	}
	third.Close()
	<-ended
}
