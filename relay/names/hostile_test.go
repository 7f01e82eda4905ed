package names_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

// network is one of 24 bits of IPv4, and 32 of IPv6.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// turnFrom claims a name from an address and returns how long its device is to wait.
func (r *rig) turnFrom(name, token string, id identity, from netip.Addr) time.Duration {
	r.t.Helper()
	g, err := r.names.Claim(r.t.Context(), names.Claimant{Name: name, Key: public(id), Token: token, Source: from})
	if err != nil {
		r.t.Fatal(err)
	}
	return g.OrderIn
}

// Keys cost nothing. Whoever makes a thousand of them takes a quarter of the CA's
// limit at most, from one network of any size, and a device of another network has
// its turn.
func TestOneNetworkDoesNotUseUpTheTurnsAtTheCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, from := range []func(i int) netip.Addr{
			func(int) netip.Addr { return netip.MustParseAddr("203.0.113.7") },
			func(i int) netip.Addr {
				return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i), byte(i >> 8), 1})
			},
		} {
			r := newRig(t, func(n *names.Names) { n.CertificatesPerWeek, n.Network = 50, network })
			taken := 0
			for i := range 120 {
				id := newIdentity(t)
				if r.turnFrom(id.label(), "", id, from(i)) == 0 {
					taken++
				}
			}
			honest := newIdentity(t)
			if in := r.turnFrom(honest.label(), "", honest, netip.MustParseAddr("198.51.100.1")); in != 0 || taken > 13 {
				t.Errorf("one network has taken %d turns of 50; a device of another one waits %v", taken, in)
			}
			r.grants().Close()
		}
	})
}

// Where names take a token, those made from keys, which take none, leave half of the
// CA's limit to those who have one, from however many networks they come.
func TestNamesMadeFromKeysLeaveTurnsForTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(n *names.Names) {
			n.CertificatesPerWeek, n.Network, n.Policy = 50, network, names.WithToken
			n.Tokens = []names.Token{{Secret: "a token of the configuration", Names: []string{"*.relay.test"}}}
		})
		defer r.grants().Close()
		for i := range 120 {
			id := newIdentity(t)
			r.turnFrom(id.label(), "", id, netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 7}))
		}
		for i := range 20 {
			if in := r.turnFrom(fmt.Sprintf("n%d.relay.test", i), "a token of the configuration", newIdentity(t), netip.AddrFrom4([4]byte{198, 51, byte(i), 1})); in != 0 {
				t.Fatalf("with a token, device %d waits %v", i, in)
			}
		}
	})
}

// A ban and a token last as long as was said, also where the time of the record is
// another than that of the machine's clock, as after a clock that was wrong.
func TestBansAndTokensLastAsLongAsWasSaid(t *testing.T) {
	for _, off := range []time.Duration{-6 * 24 * time.Hour, 60 * 24 * time.Hour} { // of the machine's clock, from the record's time
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, policy(names.Open))
			defer r.grants().Close()
			var shift atomic.Int64
			if off < 0 { // the clock was ahead at a start, and is put right
				shift.Store(int64(-off))
			}
			if err := r.grants().Close(); err != nil {
				t.Fatal(err)
			}
			r.grants().SetClock(func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
			if off > 0 { // the relay was off for two months
				time.Sleep(off)
			}
			if err := r.grants().Reopen(); err != nil {
				t.Fatal(err)
			}
			shift.Store(0)
			id := newIdentity(t)
			_, err := r.names.Ban(names.Ban{Kind: names.BanName, Of: "banned.relay.test", Until: time.Now().Add(24 * time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			secret, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Expires: time.Now().Add(24 * time.Hour)})
			r.names.SetRules(names.Rules{Policy: names.WithToken})
			r.allowed(id, "early.relay.test", secret)
			denied(t, r.claim(id, "banned.relay.test", secret), names.DeniedBanned)
			time.Sleep(25 * time.Hour)
			denied(t, r.claim(id, "late.relay.test", secret), names.DeniedToken)
			if _, banned := r.names.Banned("banned.relay.test", nil, netip.Addr{}); banned {
				t.Errorf("clock off by %v: the ban of a day is in force after 25 hours", off)
			}
		})
	}
}

// What a token allows is for the names that it is for. On an open relay it can come
// with a claim of any other, and then means nothing.
func TestTokenMeansNothingForOtherNames(t *testing.T) {
	r := newRig(t, policy(names.Open))
	secret, made := r.token(names.TokenInfo{Names: []string{"*.team.relay.test"}, Uses: 1, Limits: map[string]string{"bandwidth": "off", "names": "1000"}})
	id := newIdentity(t)
	for i := range names.MaxNamesPerIdentity {
		r.allowed(id, fmt.Sprintf("n%d.relay.test", i), secret)
	}
	denied(t, r.claim(id, "one-more.relay.test", secret), names.DeniedLimit)
	if l, err := r.names.LimitsOf("n0.relay.test"); err != nil || l != nil {
		t.Errorf("a name that the token is not for has its limits: %v, %v", l, err)
	}
	if list, err := r.names.ListTokens(); err != nil || list[0].Used != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if released, err := r.names.RevokeToken(made.ID, true); err != nil || len(released) != 0 {
		t.Errorf("revoked with %v, %v", released, err)
	}
}

// A token that is bound to its first device is so where it opens the name made from a
// key, too: passed on, it opens none for anybody else.
func TestBoundTokenIsBoundByANameMadeFromAKey(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.Policy, n.KeyNames = names.WithToken, names.WithToken })
	secret, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Bind: true})
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, a.label(), secret)
	r.allowed(a, a.label(), secret)
	denied(t, r.claim(b, b.label(), secret), names.DeniedToken)
	denied(t, r.claim(b, "x.relay.test", secret), names.DeniedToken)
	r.allowed(a, "x.relay.test", secret)
}

// That the relay has not asked DNS, since others make it ask too much, says nothing of
// a domain: its device keeps it, however long that goes on.
func TestNotAskingIsNoSilenceOfDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dns, lost := newDomainRig(t, nil)
		defer r.grants().Close()
		a := newIdentity(t)
		dns.name(app, a)
		r.allowed(a, app, "")
		dns.mu.Lock()
		dns.fails[app] = fmt.Errorf("busy: %w", names.ErrNotAsked)
		dns.mu.Unlock()
		for range 20 {
			time.Sleep(24 * time.Hour)
			r.allowed(a, app, "")
			if err := r.names.CheckDomain(t.Context(), names.Holding{Name: app, Key: public(a)}); err != nil {
				t.Fatal(err)
			}
		}
		if g, err := r.names.Show(app); err != nil || !g.Proof.Silent.IsZero() || len(*lost) > 0 {
			t.Errorf("%+v, %v, lost %q", g.Proof, err, *lost)
		}
		denied(t, r.claim(newIdentity(t), app, ""), names.DeniedUnproven)
	})
}

// The operator's token for a very name beats whatever stands below it, also more than
// one claim looks at: else whoever gives a hundred names back keeps that name from
// everybody.
func TestNamesGivenBackDoNotBlockTheOneAbove(t *testing.T) {
	r := newRig(t, policy(names.Open, names.Token{Secret: "for the very name", Names: []string{"shop.relay.test"}}))
	for i := range 4 {
		id := newIdentity(t)
		for j := range names.MaxNamesPerIdentity {
			name := fmt.Sprintf("n%d-%d.shop.relay.test", i, j)
			r.allowed(id, name, "")
			if err := r.names.Release(name, public(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	denied(t, r.claim(newIdentity(t), "shop.relay.test", ""), names.DeniedUnavailable)
	r.allowed(newIdentity(t), "shop.relay.test", "for the very name")
}

// A page of the list that finds little does not keep all others from the record: it
// looks at some thousand names, and tells where it has stopped.
func TestListLooksAtFewAtOnce(t *testing.T) {
	r := newRig(t, nil)
	list := make([]string, 10_000)
	for i := range list {
		list[i] = fmt.Sprintf("n%05d.relay.test", i)
	}
	if err := r.grants().Give(public(newIdentity(t)), 0, list...); err != nil {
		t.Fatal(err)
	}
	found, pages, after := 0, 0, ""
	for {
		got, last, more, err := r.names.List(names.Filter{Contains: "n09999"}, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		found += len(got)
		if pages++; !more {
			break
		}
		after = last
	}
	if found != 1 || pages != 3 {
		t.Errorf("found %d in %d pages", found, pages)
	}
}

// Nobody waits for a device that is banned: its names lead nowhere, and take no places
// from visitors of others.
func TestNobodyWaitsForABannedDevice(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.allowed(id, "a.relay.test", "")
	r.allowed(id, id.label(), "")
	look := func(want bool) {
		t.Helper()
		for _, name := range []string{"a.relay.test", id.label()} {
			if known, _, err := r.names.Look(name); known != want || err != nil {
				t.Errorf("%s is known: %v, %v", name, known, err)
			}
		}
	}
	look(true)
	if _, err := r.names.Ban(names.Ban{Kind: names.BanIdentity, Of: id.label()}); err != nil {
		t.Fatal(err)
	}
	look(false)
}

// The uses of a token count for names made from keys, too: passed on, one for two
// names opens them for two devices, which come again as often as they like.
func TestUsesOfATokenCountForNamesMadeFromKeys(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.Policy, n.KeyNames = names.WithToken, names.WithToken })
	secret, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Uses: 2})
	a, b, c := newIdentity(t), newIdentity(t), newIdentity(t)
	for range 3 {
		r.allowed(a, a.label(), secret)
		r.allowed(b, b.label(), secret)
		denied(t, r.claim(c, c.label(), secret), names.DeniedToken)
		denied(t, r.claim(a, "x.relay.test", secret), names.DeniedToken)
	}
	if list, err := r.names.ListTokens(); err != nil || list[0].Used != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}
