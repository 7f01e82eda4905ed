package relay_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"keystay/framing"
	"keystay/relay"
)

// dialTLS makes the connection of a link.
func (r *rig) dialTLS() (*tls.Conn, *tls.ConnectionState) {
	r.t.Helper()
	tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}})
	if err := tc.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	cs := tc.ConnectionState()
	return tc, &cs
}

// A proof of identity counts on its own connection alone, for this relay, and for the
// key that it is of.
func TestNoProofCountsTwice(t *testing.T) {
	r := newRig(t, nil)
	victim, attacker := newIdentity(t), newIdentity(t)
	r.device(victim, victim.label(), "a."+zone).echo("victim")
	sign := func(id identity, cs *tls.ConnectionState, name string) framing.Hello {
		h := framing.Hello{Run: id.run, Agent: "test"}
		if err := h.Sign(id.key, cs, name); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for what, forge := range map[string]func(cs *tls.ConnectionState) framing.Hello{
		"of another connection": func(*tls.ConnectionState) framing.Hello {
			_, other := r.dialTLS()
			return sign(victim, other, zone)
		},
		"for another relay": func(cs *tls.ConnectionState) framing.Hello { return sign(victim, cs, "other.test") },
		"with another key's signature": func(cs *tls.ConnectionState) framing.Hello {
			h := sign(attacker, cs, zone)
			h.Key = sign(victim, cs, zone).Key
			return h
		},
		"with a bit changed": func(cs *tls.ConnectionState) framing.Hello {
			h := sign(victim, cs, zone)
			h.Signature[0] ^= 1
			return h
		},
		"without one": func(cs *tls.ConnectionState) framing.Hello {
			h := sign(victim, cs, zone)
			clear(h.Signature)
			return h
		},
	} {
		t.Run(what, func(t *testing.T) {
			tc, cs := r.dialTLS()
			_, _, err := framing.Client(t.Context(), tc, forge(cs), framing.Handler{})
			var refusal *framing.Refusal
			if !errors.As(err, &refusal) || refusal.Code != framing.RefusedProof {
				t.Errorf("%v", err)
			}
			tc.Close()
		})
	}
	r.reaches("a."+zone, "victim")
}

// Of several devices that claim a name at the same time one gets it, and visitors
// reach that one.
func TestClaimsAtOnceHaveOneWinner(t *testing.T) {
	var dns domainRecord
	r := newRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
	const devices = 8
	var ids [devices]identity
	var links [devices]*device
	for i := range ids {
		ids[i] = newIdentity(t)
		links[i] = r.device(ids[i]).echo(fmt.Sprint("device", i))
	}
	dns.name(ids[:]...)
	for _, name := range []string{"one." + zone, "deep.two." + zone, customDomain, "another.example.test"} {
		var wg sync.WaitGroup
		var answers [devices]error
		for i, d := range links {
			wg.Go(func() { answers[i] = d.Claim(t.Context(), framing.Claim{Name: name}) })
		}
		wg.Wait()
		winner := -1
		for i, err := range answers {
			var denial *framing.Denial
			switch {
			case err == nil && winner >= 0:
				t.Errorf("%s: device %d and device %d have got it", name, winner, i)
			case err == nil:
				winner = i
			case !errors.As(err, &denial):
				t.Errorf("%s: %v", name, err)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: nobody has got it: %v", name, answers)
		}
		r.reaches(name, fmt.Sprint("device", winner))
	}
}

// No spelling of a name on the wire gets past the name's one form.
func TestSpellingsOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "shop."+zone).echo("victim")
	d := r.device(newIdentity(t))
	for _, name := range []string{"Shop." + zone, "SHOP." + strings.ToUpper(zone), "shop." + zone + ".", ".shop." + zone, "shop.." + zone, " shop." + zone,
		"shop." + zone + "\x00", "sh\u00f6p." + zone, "*." + zone, "_acme-challenge." + zone, "_acme-challenge.shop." + zone, "*.shop." + zone, "shop." + zone + ":443",
		zone, "", ".", "test", "127.0.0.1", "xn--." + zone, strings.Repeat("a", 64) + "." + zone, "x.shop." + zone} {
		if err := d.Claim(t.Context(), framing.Claim{Name: name}); err == nil {
			t.Errorf("%q is granted", name)
		} else if !errors.As(err, new(*framing.Denial)) {
			t.Errorf("%q: %v", name, err)
		}
	}
	r.reaches("shop."+zone, "victim")
}
