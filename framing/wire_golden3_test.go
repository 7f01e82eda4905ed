package framing_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"keystay/framing"
)

// The records that minor version 3 has added, as a conversation.
const (
	phase3Hello = iota
	phase3Claim
	phase3Denied
)

var phaseNames3 = []string{"hello and welcome", "a claim with what two earlier identities hand over", "a claim with hand-overs that do not hold"}

var (
	keys3     = []ed25519.PrivateKey{keyFrom(1), keyFrom(2), keyFrom(3)}
	list3     = framing.Handovers{framing.NewHandover(keys3[0], keys3[1]), framing.NewHandover(keys3[1], keys3[2])}
	handover3 = framing.Denial{Name: "abc.relay.test", Code: framing.DeniedHandover, Text: "the old key has not signed it"}
	hello3    = func() framing.Hello {
		h := goldenHello
		h.Minor, h.Key = 3, keys3[2].Public().(ed25519.PublicKey)
		return h
	}()
)

// keyFrom makes a key that is the same each time.
func keyFrom(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

type relayScript3 struct {
	t    *testing.T
	conn net.Conn
	link *framing.Link
	wg   sync.WaitGroup
	n    int
}

func (r *relayScript3) wait() { r.wg.Wait() }

func (r *relayScript3) start(n int) {
	if n != phase3Hello {
		return // the remote acts
	}
	r.wg.Go(func() {
		l, h, err := framing.Server(r.t.Context(), r.conn)
		if err != nil {
			r.t.Error(err)
			return
		}
		r.link = l
		if fmt.Sprint(h) != fmt.Sprint(hello3) {
			r.t.Errorf("hello %+v", h)
		}
		l.Welcome(framing.Welcome{PublicPort: 443, Agent: "keystay-relay/test"}, framing.Handler{
			Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
				r.n++
				list := c.Handovers.For(h.Key)
				if err := list.Verify(h.Key); err != nil {
					return framing.Claimed{}, &handover3
				}
				if fmt.Sprint(list) != fmt.Sprint(list3) {
					r.t.Errorf("hand-overs %+v", list)
				}
				return framing.Claimed{}, nil
			},
		})
	})
}

func (r *relayScript3) over() {
	if r.n != 2 {
		r.t.Errorf("%d claims", r.n)
	}
	settled(r.t, r.link)
}

type remoteScript3 struct {
	t    *testing.T
	conn net.Conn
	link *framing.Link
	wg   sync.WaitGroup
}

func (r *remoteScript3) wait() { r.wg.Wait() }

func (r *remoteScript3) start(n int) {
	r.wg.Go(func() {
		switch n {
		case phase3Hello:
			l, w, err := framing.Client(r.t.Context(), r.conn, hello3, framing.Handler{})
			if err != nil || w.Minor != 3 {
				r.t.Errorf("welcome %+v, %v", w, err)
			}
			r.link = l
		case phase3Claim:
			if _, err := r.link.Claim(r.t.Context(), framing.Claim{Name: "xyz.relay.test", Handovers: list3}); err != nil {
				r.t.Error(err)
			}
		case phase3Denied:
			_, err := r.link.Claim(r.t.Context(), framing.Claim{Name: handover3.Name, Handovers: list3[:1]})
			var d *framing.Denial
			if !errors.As(err, &d) || *d != handover3 || !d.Permanent() {
				r.t.Errorf("denied %+v", err)
			}
		}
	})
}

func (r *remoteScript3) over() { settled(r.t, r.link) }
