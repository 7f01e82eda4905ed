package watch_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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
							return nil, errors.New("no answer")
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
				return nil, ctx.Err()
			}
			return many, nil
		}
		n := newDevice(t).name()
		n.Port = func() int { return 8443 }
		first(t, &watch.Watch{Resolvers: []watch.Resolver{dns}, Ways: []watch.Way{way}}, n)
		if got := there(); len(got) != 2+watch.MaxAddresses || !slices.Contains(got, "192.0.2.1:443") {
			t.Errorf("%d places are dialled: %v", len(got), got)
		}
	})
}
