package watch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// An HTTPS record leads browsers to another port, another host or another address than the
// probes go by themselves: they go there, too, by the rules of ports beside.
func TestProbesGoWhereHTTPSRecordsLead(t *testing.T) {
	for what, c := range map[string]struct {
		service watch.Service
		at      string // where the records lead
	}{
		"to another port":    {watch.Service{Host: name, Port: 4443}, "192.0.2.1:4443"},
		"to another host":    {watch.Service{Host: "other.example", Port: 443}, "192.0.2.2:443"},
		"to another address": {watch.Service{Host: name, Port: 443, Hints: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}, "192.0.2.3:443"},
	} {
		for _, deceives := range []bool{true, false} {
			t.Run(what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d, public := newDevice(t), testca.New(t)
					of := "www.example"
					if deceives {
						of = name
					}
					cert := public.Issue(of)
					own := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
					spy := d.to(func(c net.Conn) { d.serve(c, cert, false, d.key) })
					w := &watch.Watch{Roots: public.Pool(), Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
						switch address {
						case "192.0.2.1:8443":
							return own.Dial(ctx, address)
						case c.at:
							return spy.Dial(ctx, address)
						}
						return nil, errors.New("refused")
					}}}, Resolvers: []watch.Resolver{{Name: "DNS", Lookup: func(_ context.Context, of string) ([]netip.Addr, error) {
						if of == "other.example" {
							return []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil
						}
						return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
					}, Services: func(_ context.Context, of string, port int) ([]watch.Service, error) {
						if of != name || port != 8443 {
							return nil, nil
						}
						return []watch.Service{c.service}, nil
					}}}}
					n := d.name()
					n.Port = func() int { return 8443 }
					round, alarms := first(t, w, n)
					if found := strings.HasPrefix(round.Text(), "intercepted: "+c.at+" shows"); found != deceives || (len(alarms) > 0) != deceives {
						t.Errorf("%q; alarms: %v", round.Text(), alarms)
					}
					if !deceives && round.State() != watch.Own {
						t.Errorf("%q", round.Text())
					}
				})
			})
		}
	}
}

// Records can lead to many places, and DNS can be silent: the watch does not go everywhere,
// and does not wait.
func TestHTTPSRecordsAreFollowedWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var many []watch.Service
		for i := range 1000 {
			many = append(many, watch.Service{Host: name, Port: 1000 + i})
		}
		way, there := dialled("", false)
		dns := gives("192.0.2.1")
		dns.Services = func(ctx context.Context, _ string, port int) ([]watch.Service, error) {
			if port == 443 {
				<-ctx.Done()
				return nil, nil // no answer
			}
			return many, nil
		}
		n := newDevice(t).name()
		n.Port = func() int { return 8443 }
		round, _ := first(t, &watch.Watch{Resolvers: []watch.Resolver{dns}, Ways: []watch.Way{way}}, n)
		if want := "the name has HTTPS records that lead to 984 places more than are looked at in one round"; !strings.Contains(round.Text(), want) {
			t.Errorf("%q, without %q", round.Text(), want)
		}
		if got := there(); len(got) != 2+watch.MaxAddresses || !slices.Contains(got, "192.0.2.1:443") {
			t.Errorf("%d places are dialled: %v", len(got), got)
		}
	})
}

// A host whose DNS says nothing does not keep the watch from the others, wherever in the
// list it is. It is told, once more than the first round has waited.
func TestASilentHostHidesNoOther(t *testing.T) {
	for _, hosts := range [][]string{{"spy.example", "silent.example"}, {"silent.example", "spy.example"}} {
		t.Run(hosts[0]+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t)
				cert := public.Issue(name)
				own, spy := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) }), d.to(func(c net.Conn) { d.serve(c, cert, false, d.key) })
				way := watch.Way{Dial: func(ctx context.Context, address string) (net.Conn, error) {
					if address == "192.0.2.66:4443" {
						return spy.Dial(ctx, address)
					}
					return own.Dial(ctx, address)
				}}
				dns := watch.Resolver{Name: "DNS", Lookup: func(ctx context.Context, of string) ([]netip.Addr, error) {
					switch of {
					case "silent.example":
						<-ctx.Done()
						return nil, ctx.Err()
					case "spy.example":
						return []netip.Addr{netip.MustParseAddr("192.0.2.66")}, ctx.Err()
					}
					return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
				}, Services: func(context.Context, string, int) (all []watch.Service, err error) {
					for _, h := range hosts {
						all = append(all, watch.Service{Host: h, Port: 4443})
					}
					return all, nil
				}}
				w, n := &watch.Watch{Roots: public.Pool(), Ways: []watch.Way{way}, Resolvers: []watch.Resolver{dns}}, d.name()
				round, alarms := first(t, w, n)
				if len(alarms) != 1 || !strings.HasPrefix(round.Text(), "intercepted: 192.0.2.66:4443 shows") {
					t.Errorf("%q; %d alarms", round.Text(), len(alarms))
				}
				ctx, cancel := context.WithCancel(t.Context())
				n.Told = func(r *watch.Round) {
					if r.Time.After(round.Time.Add(time.Minute)) {
						round = r
						cancel()
					}
				}
				w.Run(ctx, n, nil)
				if !slices.ContainsFunc(round.Results, func(r watch.Result) bool {
					return r.Step == watch.AtLookup && strings.Contains(r.Why, "silent.example")
				}) {
					t.Errorf("the silent host is not told: %v", round.Results)
				}
			})
		})
	}
}

// Where HTTPS records lead and the watch cannot look, it is not said that nobody is there.
func TestWhereRecordsLeadAndNobodyLooksIsNotChecked(t *testing.T) {
	var hosts []watch.Service
	for i := range 20 {
		hosts = append(hosts, watch.Service{Host: fmt.Sprintf("h%d.example", i), Port: 443})
	}
	for what, c := range map[string]struct {
		services []watch.Service
		err      error
		told     string // empty where nothing is to tell
	}{
		"none":                        {},
		"records that cannot be read": {nil, errors.New("garbled"), "has HTTPS records that cannot be followed, as DNS says: garbled"},
		"one of them cannot be":       {hosts[:1], errors.New("garbled"), "has HTTPS records that cannot be followed, as DNS says: garbled"},
		"a host without addresses":    {[]watch.Service{{Host: "none.example", Port: 443}}, nil, "leads to none.example, which is not found in DNS, as DNS says: no address"},
		"a host that is not found":    {[]watch.Service{{Host: "gone.example", Port: 443}}, nil, "leads to gone.example, which is not found in DNS, as DNS says: no such host"},
		"one with hints":              {[]watch.Service{{Host: "gone.example", Port: 443, Hints: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}, nil, "leads to gone.example"},
		"too many hosts":              {hosts, nil, "leads to h19.example, which is not found in DNS, as DNS says: there are too many of them"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice(t)
				dns := watch.Resolver{Name: "DNS", Lookup: func(_ context.Context, of string) ([]netip.Addr, error) {
					switch of {
					case "none.example":
						return nil, nil
					case "gone.example":
						return nil, &net.DNSError{Err: "no such host", Name: of, IsNotFound: true}
					}
					return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
				}, Services: func(context.Context, string, int) ([]watch.Service, error) { return c.services, c.err }}
				way := d.to(func(conn net.Conn) { d.serve(conn, d.cert, true, d.key) })
				round, _ := first(t, &watch.Watch{Roots: testca.New(t).Pool(), Ways: []watch.Way{way}, Resolvers: []watch.Resolver{dns}}, d.name())
				var told []string
				for _, r := range round.Results {
					if r.State == watch.NotRun {
						told = append(told, r.Why)
					}
				}
				if (len(told) > 0) != (c.told != "") || !strings.Contains(strings.Join(told, "\n"), c.told) {
					t.Errorf("it tells %q, want %q", told, c.told)
				}
			})
		})
	}
}

// That the short time of the first round is not enough for the DNS of a host says nothing yet.
func TestSlowDNSOfALeadSaysNothingInTheFirstRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		own := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
		dns := watch.Resolver{Name: "DNS", Lookup: func(ctx context.Context, of string) ([]netip.Addr, error) {
			select {
			case <-time.After(700 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}, Services: func(ctx context.Context, _ string, port int) ([]watch.Service, error) {
			select {
			case <-time.After(350 * time.Millisecond):
			case <-ctx.Done():
				return nil, nil
			}
			return []watch.Service{{Host: "edge.example", Port: port}}, nil
		}}
		way := watch.Way{Dial: func(ctx context.Context, address string) (net.Conn, error) { return own.Dial(ctx, address) }}
		round, _ := first(t, &watch.Watch{Resolvers: []watch.Resolver{dns}, Ways: []watch.Way{way}}, d.name())
		if round.State() != watch.Own {
			t.Errorf("%q", round.Text())
		}
	})
}
