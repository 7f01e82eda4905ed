package framing_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"keystay/framing"
)

// What minor versions 1 and 2 have added, as a conversation.
const (
	phase2Hello = iota
	phase2Claim
	phase2Again
	phase2Denied
	phase2Order
	phase2OrderDone
	phase2Release
	phase2Once
	phase2NotReleased
	phase2Lost
)

var phaseNames2 = []string{"hello and welcome", "a replica's claim with rules; the certificate is to wait", "the same name with other rules",
	"a claim that is denied, with a hint", "the turn to order", "and its end", "a name given back", "and claimed once more", "a name that is not the device's", "a name taken back"}

var (
	rules2 = framing.Rules{Allow: ranges("192.0.2.0/24 2001:db8::/32"), Deny: ranges("192.0.2.7/32")}
	other2 = framing.Rules{Deny: ranges("0.0.0.0/0")}
	limit2 = framing.Denial{Name: "abc.relay.test", Code: framing.DeniedUnproven, Text: "the DNS does not say so", Hint: "set the record", Retry: time.Minute}
	lost2  = framing.Denial{Name: "xyz.relay.test", Code: framing.DeniedBanned, Text: "banned", Hint: "ask the operator"}
	hello2 = func() framing.Hello { h := goldenHello; h.Minor = 2; return h }()
)

type script2 struct {
	t    *testing.T
	conn net.Conn
	link *framing.Link
	told []framing.Denial
	wg   sync.WaitGroup
}

func (s *script2) wait() { s.wg.Wait() }

type relayScript2 struct {
	script2
	claims []framing.Claim
}

func (r *relayScript2) start(n int) {
	if n != phase2Hello && n != phase2Lost {
		return // the remote acts
	}
	r.wg.Go(func() {
		if n == phase2Lost {
			r.link.Revoke(lost2)
			return
		}
		l, h, err := framing.Server(r.t.Context(), r.conn)
		if err != nil {
			r.t.Error(err)
			return
		}
		r.link = l
		if fmt.Sprint(h) != fmt.Sprint(hello2) {
			r.t.Errorf("hello %+v", h)
		}
		l.Welcome(framing.Welcome{PublicPort: 443, Agent: "keystay-relay/test"}, framing.Handler{
			Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
				r.claims = append(r.claims, c)
				if c.Name == limit2.Name {
					return framing.Claimed{}, &limit2
				}
				return framing.Claimed{OrderIn: 202 * time.Minute}, nil
			},
			Order: func(name string, _ bool) bool { return name == lost2.Name },
			Release: func(_ context.Context, name string) error {
				if name == lost2.Name {
					return nil
				}
				return &framing.NotReleased{Text: "it is not this device's"}
			},
		})
	})
}

func (r *relayScript2) over() {
	name := lost2.Name
	want := []framing.Claim{{Name: name, Token: "token", Replica: true, Rules: rules2},
		{Name: name, Token: "token", Replica: true, Rules: other2}, {Name: limit2.Name}, {Name: name}}
	if fmt.Sprint(r.claims) != fmt.Sprint(want) {
		r.t.Errorf("claims %+v", r.claims)
	}
	settled(r.t, r.link)
}

type remoteScript2 struct{ script2 }

func (r *remoteScript2) start(n int) {
	r.wg.Go(func() {
		ctx, name := r.t.Context(), lost2.Name
		switch n {
		case phase2Hello:
			l, w, err := framing.Client(ctx, r.conn, hello2, framing.Handler{Lost: func(d *framing.Denial) { r.told = append(r.told, *d) }})
			if err != nil || w.Minor != 2 {
				r.t.Errorf("welcome %+v, %v", w, err)
			}
			r.link = l
		case phase2Claim, phase2Again:
			rules := rules2
			if n == phase2Again {
				rules = other2
			}
			c, err := r.link.Claim(ctx, framing.Claim{Name: name, Token: "token", Replica: true, Rules: rules})
			if err != nil || c.OrderIn != 202*time.Minute {
				r.t.Errorf("claimed %+v, %v", c, err)
			}
		case phase2Denied:
			_, err := r.link.Claim(ctx, framing.Claim{Name: limit2.Name})
			var d *framing.Denial
			if !errors.As(err, &d) || *d != limit2 {
				r.t.Errorf("denied %+v", err)
			}
		case phase2Order:
			if ok, err := r.link.Order(ctx, name); !ok || err != nil {
				r.t.Errorf("the turn: %v, %v", ok, err)
			}
		case phase2OrderDone:
			r.link.OrderDone(name)
		case phase2Release:
			if err := r.link.Release(ctx, name); err != nil {
				r.t.Error(err)
			}
		case phase2Once:
			if _, err := r.link.Claim(ctx, framing.Claim{Name: name}); err != nil {
				r.t.Error(err)
			}
		case phase2NotReleased:
			var not *framing.NotReleased
			if err := r.link.Release(ctx, "abc.relay.test"); !errors.As(err, &not) || not.Later || not.Text != "it is not this device's" {
				r.t.Errorf("release: %v", err)
			}
		}
	})
}

func (r *remoteScript2) over() {
	if len(r.told) != 1 || r.told[0] != lost2 {
		r.t.Errorf("told %+v", r.told)
	}
	settled(r.t, r.link)
}
