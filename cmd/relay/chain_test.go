//go:build linux || darwin || freebsd

package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"keystay/internal/handover"
	"keystay/relay"
	"keystay/relay/names"
)

// tookOver returns both sides of a takeover that is done.
func tookOver(t *testing.T) (*handover.New, *handover.Old) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	c, err := handover.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	offered := make(chan *handover.Old, 1)
	go func() {
		defer close(offered)
		o, err := c.Accept()
		if err == nil {
			err = o.Offer(context.Background(), []handover.Socket{{For: "public", Listener: ln}}, nil)
		}
		if err != nil {
			t.Error(err)
			return
		}
		offered <- o
	}()
	n, err := handover.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	sockets, _, err := n.Take()
	for _, s := range sockets {
		s.Listener.Close()
	}
	for _, step := range []func() error{func() error { return err }, n.Ready, n.Serving} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	o := <-offered
	t.Cleanup(func() { n.Close(); o.Close() })
	return n, o
}

// A process that took over, and was taken over from, passes on what it hears of
// names: the first one may still have visitors.
func TestClaimsReachTheFirstOfThreeProcesses(t *testing.T) {
	second, first := tookOver(t) // as the new one, and the old
	third, ofSecond := tookOver(t)
	g, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	srv := &relay.Server{Domain: "relay.test", TLS: new(tls.Config), Names: &names.Names{Grants: g}}
	defer srv.Close()
	missed := make(chan bool, 1)
	p := &process{srv: srv, takeover: &takeover{side: second}}
	go func() { missed <- p.listenTo(&oldProcess{ofSecond}) }()
	heard := make(chan handover.Claim, 2)
	go func() {
		first.Told(func(c handover.Claim) { heard <- c }, func(handover.Cut) {})
		close(heard)
	}()
	third.Claimed(handover.Claim{Name: "a.relay.test", Key: make([]byte, 32), Number: 7, Run: make([]byte, 16)})
	if c := <-heard; c.Name != "a.relay.test" || c.Number != 7 {
		t.Errorf("heard %+v", c)
	}
	third.Missed()
	if !<-missed {
		t.Error("the second process does not hear that it has missed something")
	}
	if c, more := <-heard; more {
		t.Errorf("heard %+v", c)
	}
}

// What is cut in the third process is cut in the first, too: it may still have
// visitors of it.
func TestCutsReachTheFirstOfThreeProcesses(t *testing.T) {
	second, first := tookOver(t) // as the new one, and the old
	third, ofSecond := tookOver(t)
	g, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	p := &process{log: slog.New(slog.DiscardHandler), takeover: &takeover{side: second}}
	p.srv = &relay.Server{Domain: "relay.test", TLS: new(tls.Config), Names: &names.Names{Grants: g}, OnCut: p.cutOld}
	defer p.srv.Close()
	defer p.wg.Wait()
	told := make(chan struct{})
	go func() { defer close(told); p.listenTo(&oldProcess{ofSecond}) }()
	heard := make(chan handover.Cut, 1)
	go first.Told(func(handover.Claim) {}, func(c handover.Cut) { heard <- c })
	ban := relay.Cut{Addresses: netip.MustParsePrefix("192.0.2.0/24"), Why: names.Denied{Code: names.DeniedBanned, Text: "why", Hints: []string{"do"}}}
	(&process{log: p.log, takeover: &takeover{side: third}}).cutOld(ban)
	want := handover.Cut{Addresses: "192.0.2.0/24", Code: int(names.DeniedBanned), Text: "why", Hints: []string{"do"}}
	if c := <-heard; !reflect.DeepEqual(c, want) {
		t.Errorf("heard %+v", c)
	}
	third.Close()
	<-told
}
