package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// claiming is a session of names with a relay that decides about claims.
func claiming(t *testing.T, decide func(ctx context.Context, name string) error, names ...string) (*session, []*Listener) {
	link, _ := connected(t, framing.Handler{Claim: func(ctx context.Context, c framing.Claim) (framing.Claimed, error) {
		return framing.Claimed{}, decide(ctx, c.Name)
	}})
	s, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{state: s, log: slog.New(slog.DiscardHandler)}
	d.ctx, d.late = t.Context(), t.Context()
	w := newWay(d, route{candidates: []string{"relay.test"}})
	var list []*Listener
	for _, name := range names {
		l := newListener(d, Name{Domain: name}, name, served{})
		l.base = &tls.Config{}
		w.wants[l] = true
		list = append(list, l)
	}
	return newSession(w, &reached{relay: "relay.test", link: link}), list
}

// A relay answers claims one after the other, and may take seconds for one whose DNS
// is silent. As long as it answers, each name waits for its turn.
func TestNamesThatTakeLongKeepNoOtherFromItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 2 * framing.MaxAsked {
			names = append(names, fmt.Sprintf("%03d.example", i))
		}
		s, list := claiming(t, func(ctx context.Context, name string) error {
			if name < "006" {
				time.Sleep(5 * time.Second) // DNS does not answer
				return &framing.Denial{Code: framing.DeniedUnproven}
			}
			return nil
		}, names...)
		given := s.claimAll(list)
		if len(given) != len(names)-6 || len(s.has) != len(given) || len(s.denied) != 6 {
			t.Errorf("%d of %d names were given, and %d denied, want 6", len(given), len(names), len(s.denied))
		}
		for l, why := range s.denied {
			var d *framing.Denial
			if !errors.As(why, &d) || d.Code != framing.DeniedUnproven {
				t.Errorf("%s: %v", l.domain, why)
			}
		}
	})
}

// Claims that a relay does not answer are given up dialTimeout after its last answer,
// and what it gave until then stays.
func TestRelayThatAnswersNoClaimIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answered atomic.Bool // the first claim, of whichever name
		s, list := claiming(t, func(ctx context.Context, _ string) error {
			if answered.Swap(true) {
				<-ctx.Done()
			}
			return ctx.Err()
		}, "a.relay.test", "b.relay.test", "c.relay.test")
		began := time.Now()
		if given := s.claimAll(list); len(given) != 1 {
			t.Errorf("%d names were given", len(given))
		}
		if took := time.Since(began); took != dialTimeout {
			t.Errorf("it took %v", took)
		}
		for l, why := range s.denied {
			var none *NoRelayError
			if !errors.As(why, &none) {
				t.Errorf("%s: %v", l.domain, why)
			}
		}
		if len(s.denied) != 2 {
			t.Errorf("%d names were denied", len(s.denied))
		}
	})
}

// Names that cost the relay a question to DNS, and those that it did not give lately,
// are asked for behind the others.
func TestNamesThatMayTakeLongAreClaimedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []string
		s, list := claiming(t, func(_ context.Context, name string) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, name)
			if strings.HasPrefix(name, "a.") {
				return &framing.Denial{Code: framing.DeniedUnproven}
			}
			return nil
		}, "a.example", "a.relay.test", "b.example", "z.relay.test")
		s.claimAll(list)
		s.w.later("relay.test", s.denied, s.has)
		if slices.Sort(asked[:2]); !slices.Equal(asked[:2], []string{"a.relay.test", "z.relay.test"}) {
			t.Errorf("asked for %q", asked)
		}
		asked = nil
		s.claimAll(list)
		if asked[0] != "z.relay.test" {
			t.Errorf("then asked for %q", asked)
		}
	})
}
