package watch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/probe"
	"keystay/internal/testca"
	"keystay/remote/watch"
)

// byPort is a way that leads to another end for each port.
func (d *device) byPort(ends map[string]func(net.Conn)) watch.Way {
	return watch.Way{Dial: func(ctx context.Context, address string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(address)
		if ends[port] == nil {
			return nil, errors.New("refused")
		}
		return d.to(ends[port]).Dial(ctx, address)
	}}
}

// At ports beside that of the name, 443 among them, nobody but a server with a certificate
// that browsers take for the name's is an interception. All else that may be there leaves
// the words as they are.
func TestBesideItsPortOnlyWhatDeceivesBrowsersIsAnInterception(t *testing.T) {
	type end func(d *device, public, private *testca.CA) func(net.Conn)
	shows := func(issue func(public, private *testca.CA) tls.Certificate) end {
		return func(d *device, public, private *testca.CA) func(net.Conn) {
			cert := issue(public, private)
			return func(c net.Conn) { d.serve(c, cert, false, d.key) }
		}
	}
	spy := func(public, _ *testca.CA) tls.Certificate { return public.Issue(name) }
	other := func(public, _ *testca.CA) tls.Certificate { return public.Issue("www.example") }
	unknown := func(_, private *testca.CA) tls.Certificate { return private.Issue(name) }
	fetched := func(names ...string) func(public, _ *testca.CA) tls.Certificate {
		return func(public, _ *testca.CA) tls.Certificate {
			between := public.Intermediate("between")
			between.At = "http://ca.example/between.der"
			return between.Issue(names...)
		}
	}
	for what, c := range map[string]struct {
		at     string
		end    end
		beside []int
		found  bool
	}{
		"a certificate for the name at 443":                       {at: "443", end: shows(spy), found: true},
		"the same where visitors were led before":                 {at: "9443", end: shows(spy), beside: []int{9443, 443, 0, 70000, 8443}, found: true},
		"the same where nobody was ever led":                      {at: "9443", end: shows(spy)},
		"one whose intermediate browsers fetch, for another name": {at: "443", end: shows(fetched("www.example"))},
		"another name's certificate":                              {at: "443", end: shows(other)},
		"a certificate for the name of no public CA":              {at: "443", end: shows(unknown)},
		"the device": {at: "443", end: func(d *device, _, _ *testca.CA) func(net.Conn) {
			return func(c net.Conn) { d.serve(c, d.cert, true, d.key) }
		}},
		"nothing": {},
		"a server that says nothing": {at: "443", end: func(*device, *testca.CA, *testca.CA) func(net.Conn) {
			return func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
		}},
		"a server of another kind": {at: "443", end: func(*device, *testca.CA, *testca.CA) func(net.Conn) {
			return func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-test\r\n")
				_, _ = io.Copy(io.Discard, c)
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t) // in the bubble, for its time
				ends := map[string]func(net.Conn){"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) }}
				if c.end != nil {
					ends[c.at] = c.end(d, public, testca.New(t))
				}
				n := d.name()
				n.Port, n.Beside = func() int { return 8443 }, func() []int { return c.beside }
				w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{d.byPort(ends)}, Roots: public.Pool()}
				began := time.Now()
				round, alarms := first(t, w, n)
				if took := time.Since(began); took > 3*time.Second { // in which the start screen waits for it
					t.Errorf("it took %v", took)
				}
				if !c.found {
					if got, want := round.Text(), "nobody between: this device's own key at 192.0.2.1:8443"; got != want || len(alarms) > 0 {
						t.Errorf("%q, want %q; alarms: %v", got, want, alarms)
					}
					return
				}
				if want := "intercepted: 192.0.2.1:" + c.at + " shows a key"; !strings.HasPrefix(round.Text(), want) || len(alarms) != 1 {
					t.Errorf("%q, want %q; alarms: %v", round.Text(), want, alarms)
				}
			})
		})
	}
}

// At a port beside another replica is believed as at that of the name.
func TestAReplicaBesideIsNoInterception(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, public := newDevice(t), testca.New(t)
		replica := public.Issue(name)
		n := d.name()
		n.Port, n.Replica = func() int { return 8443 }, true
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Roots: public.Pool(), Ways: []watch.Way{d.byPort(map[string]func(net.Conn){
			"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) },
			"443":  func(c net.Conn) { d.serve(c, replica, false, d.key) },
		})}}
		if round, _ := first(t, w, n); round.State() != watch.Own {
			t.Error(round.Text())
		}
	})
}

// Each way and each address leads to the ports beside, too, of which there are not ever
// so many.
func TestPortsBesideAreLookedAtInEveryWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, there := dialled("", false)
		proxy, through := dialled("proxy.example:3128", true)
		n := newDevice(t).name()
		n.Port, n.Beside = func() int { return 8443 }, func() []int { return []int{9443} }
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{direct, proxy}}
		first(t, w, n)
		want := []string{"192.0.2.1:443", "192.0.2.1:8443", "192.0.2.1:9443"}
		if got := there(); !slices.Equal(got, want) {
			t.Errorf("directly %v, want %v", got, want)
		}
		if got := through(); !slices.Equal(got, append(want, name+":443", name+":8443", name+":9443")) {
			t.Errorf("through the proxy %v", got)
		}
		n.Beside = func() (many []int) {
			for p := range 1000 {
				many = append(many, p)
			}
			return many
		}
		direct, there = dialled("", false)
		w.Ways = []watch.Way{direct}
		first(t, w, n)
		if got := len(there()); got != 1+watch.MaxBeside {
			t.Errorf("%d ports are dialled", got)
		}
	})
}

// A peer looks at the ports beside, too, and nothing but an interception is told of them. One
// that is asked for none, as by a remote of before, looks at none.
func TestAPeerLooksBesideToo(t *testing.T) {
	for what, c := range map[string]struct {
		shows string // a certificate for this name
		asks  func(*probe.Question)
		state watch.State
	}{
		"somebody who listens in": {shows: name, state: watch.Intercepted},
		"another server":          {shows: "www.example", state: watch.Own},
		"a question of before":    {shows: name, asks: func(q *probe.Question) { q.Beside = nil }, state: watch.Own},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t)
				cert := public.Issue(c.shows)
				w, _ := crossing(t, d, d.byPort(map[string]func(net.Conn){
					"8443": func(conn net.Conn) { d.serve(conn, d.cert, true, d.key) },
					"443":  func(conn net.Conn) { d.serve(conn, cert, false, d.key) },
				}))
				w.Roots = public.Pool()
				if sign := w.Sign; c.asks != nil {
					w.Sign = func(q probe.Question) (doc, hash []byte) { c.asks(&q); return sign(q) }
				}
				n := d.name()
				n.Port = func() int { return 8443 }
				round, alarms := first(t, w, n)
				if round.State() != c.state || (len(alarms) > 0) != (c.state == watch.Intercepted) {
					t.Errorf("%s; alarms: %v", round.Text(), alarms)
				}
				if got := len(round.Results); c.state == watch.Own && got != 2 {
					t.Errorf("%d results", got)
				}
			})
		})
	}
}

// Many ports and addresses make a peer open a bounded number of connections, those to the
// name's own port first, and its answer is read whole.
func TestAPeerLooksBesideWithinItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		var mu sync.Mutex
		seen := make(map[string]int)
		long := d.cert
		for range 20 {
			long.Certificate = append(long.Certificate, long.Certificate[0])
		}
		to := d.to(func(c net.Conn) { d.serve(c, long, true, d.key) })
		w, p := crossing(t, d, watch.Way{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			mu.Lock()
			seen[port]++
			mu.Unlock()
			return to.Dial(ctx, address)
		}})
		p.answers.Watch.Resolvers[0] = gives("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8")
		n := d.name()
		n.Port, n.Beside = func() int { return 8443 }, func() []int { return []int{9443, 10443} }
		round, _ := first(t, w, n)
		if beside := seen["443"] + seen["9443"] + seen["10443"]; seen["8443"] != 8 || beside != 8 {
			t.Errorf("it has looked at %v", seen)
		}
		if len(round.Results) != 9 || round.State() != watch.Own {
			t.Errorf("%d results: %s", len(round.Results), round.Text())
		}
	})
}
