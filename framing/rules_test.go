package framing_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// ranges are prefixes, with a blank between two.
func ranges(list string) (all []netip.Prefix) {
	for _, s := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// The rule of PROTOCOL.md, "Rules for visitors", at its edges.
func TestRulesAdmit(t *testing.T) {
	for _, c := range []struct{ allow, deny, admitted, refused string }{
		{"", "", "192.0.2.1 2001:db8::1 ::ffff:192.0.2.1 fe80::1%eth0", ""},
		{"192.0.2.0/24", "", "192.0.2.0 192.0.2.255 ::ffff:192.0.2.7", "192.0.1.255 192.0.3.0 2001:db8::1 ::ffff:192.0.3.1"},
		{"", "192.0.2.0/24", "192.0.3.0 2001:db8::1 ::ffff:192.0.3.1", "192.0.2.0 192.0.2.255 ::ffff:192.0.2.7"},
		{"192.0.2.7/32", "192.0.2.0/24", "192.0.2.7", "192.0.2.8 192.0.3.1"},
		{"192.0.2.0/24", "192.0.2.7/32", "192.0.2.8", "192.0.2.7 192.0.3.1"},
		{"192.0.2.0/24", "192.0.2.0/24", "", "192.0.2.1 192.0.3.1"},
		{"10.0.0.0/8 10.1.1.0/24", "10.1.0.0/16", "10.0.0.1 10.1.1.1 10.2.0.0", "10.1.0.1 10.1.2.1 11.0.0.1"},
		{"0.0.0.0/0", "", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", "::1 2001:db8::1"},
		{"::/0", "", ":: 2001:db8::1", "192.0.2.1 ::ffff:192.0.2.1"},
		{"", "0.0.0.0/0", "2001:db8::1", "192.0.2.1 ::ffff:192.0.2.1"},
		{"", "0.0.0.0/0 ::/0", "", "192.0.2.1 2001:db8::1"},
		{"192.0.2.7/32", "0.0.0.0/0 ::/0", "192.0.2.7", "192.0.2.8 2001:db8::1"},
		{"::ffff:192.0.2.0/120", "", "192.0.2.9 ::ffff:192.0.2.9", "192.0.3.9"},
		{"::ffff:0.0.0.0/96", "", "192.0.2.9", "2001:db8::1"},
		{"192.0.2.77/24", "", "192.0.2.1", "192.0.3.1"}, // bits behind the prefix do not count
		{"fe80::/10", "", "fe80::1 fe80::1%eth0", "2001:db8::1"},
		{"", "2001:db8::/32", "2001:db9::", "2001:db8::1 2001:db8:ffff::"},
	} {
		r := framing.Rules{Allow: ranges(c.allow), Deny: ranges(c.deny)}
		for want, list := range map[bool]string{true: c.admitted, false: c.refused} {
			for _, s := range strings.Fields(list) {
				if got := r.Admit(netip.MustParseAddr(s)); got != want {
					t.Errorf("allow %q, deny %q: %s is admitted: %v", c.allow, c.deny, s, got)
				}
			}
		}
	}
	if !(framing.Rules{}).Admit(netip.Addr{}) || (framing.Rules{Deny: ranges("10.0.0.0/8")}).Admit(netip.Addr{}) {
		t.Error("an invalid address is admitted just where there are rules")
	}
}

// rulesByHand are n entries.
func rulesByHand(n int) []byte {
	return []byte(strings.Repeat("\x00\x18\x04\xc0\x00\x02\x00", n))
}

func claimWithRules(rules []byte) []byte {
	return rec(claim, str8("x"), str16(""), []byte{0}, str16(string(rules)))
}

// What a remote of minor version 2 may not write into its rules.
func TestBrokenRulesEndTheLink(t *testing.T) {
	cases := []violation{
		{"no rules", rec(claim, str8("x"), str16(""), []byte{0})},
		{"rules that are cut short", rec(claim, str8("x"), str16(""), []byte{0}, u16(7), rulesByHand(1)[:6])},
		{"an entry that is cut short", claimWithRules(rulesByHand(2)[:13])},
		{"an entry of two bytes", claimWithRules([]byte{0, 0})},
		{"another action", claimWithRules([]byte("\x02\x18\x04\xc0\x00\x02\x00"))},
		{"another family", claimWithRules([]byte("\x00\x18\x05\xc0\x00\x02\x00"))},
		{"33 bits of IPv4", claimWithRules([]byte("\x00\x21\x04\xc0\x00\x02\x00"))},
		{"129 bits of IPv6", claimWithRules(append([]byte("\x00\x81\x06"), make([]byte, 16)...))},
		{"MaxRules and one more", claimWithRules(rulesByHand(framing.MaxRules + 1))},
	}
	each(t, "relay", cases, func(t testing.TB, bad []byte) {
		l, p := handMade{minor: 2, handler: framing.Handler{Claim: grantAll}}.remote(t)
		p.send(bad)
		violated(t, l)
	})
}

// Rules arrive as they were sent, without what does not count, up to MaxRules; and
// the rules of each further claim of a name arrive, too.
func TestRulesArrive(t *testing.T) {
	relay, remote, claims := claimLinks(t)
	var most []netip.Prefix
	for i := range framing.MaxRules {
		most = append(most, netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/48", i)))
	}
	long := strings.Repeat("x", 253)
	for _, c := range []struct{ sent, want framing.Rules }{
		{framing.Rules{}, framing.Rules{}},
		{framing.Rules{Allow: ranges("192.0.2.77/24 ::ffff:10.0.0.0/104")}, framing.Rules{Allow: ranges("192.0.2.0/24 10.0.0.0/8")}},
		{framing.Rules{Allow: ranges("2001:db8::7/128"), Deny: ranges("0.0.0.0/0 ::/0")}, framing.Rules{Allow: ranges("2001:db8::7/128"), Deny: ranges("0.0.0.0/0 ::/0")}},
		{framing.Rules{Deny: most}, framing.Rules{Deny: most}},
	} {
		for range framing.MaxNames + 1 { // one name, however often
			if _, err := remote.Claim(t.Context(), framing.Claim{Name: long, Token: strings.Repeat("t", 1024), Rules: c.sent}); err != nil {
				t.Fatal(err)
			}
			if got := <-claims; fmt.Sprint(got.Rules) != fmt.Sprint(c.want) {
				t.Errorf("%v arrived as %v", c.sent, got.Rules)
			}
			if len(c.want.Allow)+len(c.want.Deny) > 0 {
				break // the flood limit
			}
		}
	}
	for name, r := range map[string]framing.Rules{
		"too many":   {Allow: most, Deny: ranges("0.0.0.0/0")},
		"an invalid": {Allow: []netip.Prefix{{}}},
	} {
		if _, err := remote.Claim(t.Context(), framing.Claim{Name: long, Rules: r}); err == nil {
			t.Errorf("%s ranges were claimed", name)
		}
	}
	if err := relay.Err(); err != nil {
		t.Error(err)
	}
}

// claimLinks returns both ends of a link whose relay grants all, and what was
// claimed.
func claimLinks(t *testing.T) (relay, remote *framing.Link, claims chan framing.Claim) {
	claims = make(chan framing.Claim, 1)
	a, b := pipe()
	relay, remote = links(t, a, b, framing.Handler{Claim: claimsBy(func(c framing.Claim) error { claims <- c; return nil })}, framing.Handler{})
	return relay, remote, claims
}

// A side of an older minor version says nothing of the newer fields, and what
// follows in its records is no field.
func TestOlderMinorVersionsHaveNoNewFields(t *testing.T) {
	more := []byte("fields of a version that it does not speak")
	for minor := range byte(2) {
		t.Run(fmt.Sprint(minor), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				claims := make(chan framing.Claim, 1)
				answers := framing.Handler{Claim: claimsBy(func(c framing.Claim) error { claims <- c; return nil })}
				l, p := handMade{minor: minor, handler: answers}.remote(t)
				asks := rec(claim, str8("x"), str16("t"), more)
				if minor == 1 {
					asks = rec(claim, str8("x"), str16("t"), []byte{1}, more)
				}
				p.send(asks)
				if c := <-claims; c.Name != "x" || c.Token != "t" || c.Replica != (minor == 1) || c.Allow != nil || c.Deny != nil {
					t.Errorf("claim %+v", c)
				}
				p.expect(claimed)
				p.send(rec(claim, str8("y"), str16(""))) // whose flags may be missing
				if c := <-claims; c.Name != "y" || c.Replica {
					t.Errorf("claim %+v", c)
				}
				p.expect(claimed)
				up(t, l)

				gone := make(chan *framing.Denial, 1)
				remote, p := handMade{minor: minor, handler: framing.Handler{Lost: func(d *framing.Denial) { gone <- d }}}.relay(t)
				answer := make(chan framing.Claimed, 1)
				refused := make(chan error, 1)
				go func() {
					c, err := remote.Claim(t.Context(), framing.Claim{Name: "x", Rules: framing.Rules{Allow: ranges("10.0.0.0/8")}})
					answer <- c
					refused <- err
					_, err = remote.Claim(t.Context(), framing.Claim{Name: "y"})
					refused <- err
				}()
				p.expect(claim)
				p.send(rec(claimed, str8("x"), more))
				if c, err := <-answer, <-refused; err != nil || c != (framing.Claimed{}) {
					t.Errorf("claimed %+v, %v", c, err)
				}
				p.expect(claim)
				p.send(rec(denied, str8("y"), u16(7), str16("no"), more))
				if err := (<-refused).(*framing.Denial); *err != (framing.Denial{Name: "y", Code: framing.DeniedLimit, Text: "no"}) {
					t.Errorf("denied: %+v", err)
				}
				p.send(rec(lost, str8("x"), u16(6), str16("ban"), more))
				if d := <-gone; *d != (framing.Denial{Name: "x", Code: framing.DeniedBanned, Text: "ban"}) {
					t.Errorf("lost: %+v", d)
				}
				up(t, remote)
			})
		})
	}
}
