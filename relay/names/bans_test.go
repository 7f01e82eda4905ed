package names_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

func (r *rig) ban(b names.Ban) {
	r.t.Helper()
	if _, err := r.names.Ban(b); err != nil {
		r.t.Fatal(err)
	}
}

// claimFrom claims a name from an address.
func (r *rig) claimFrom(id identity, name, from string) error {
	_, err := r.names.Claim(r.t.Context(), names.Claimant{Name: name, Key: public(id), Source: netip.MustParseAddr(from)})
	return err
}

// A ban of a name, of an identity and of an address range denies all that it is for,
// what is held already and names made from keys too, and nothing else; it outlives a
// restart, and ends when it is lifted or over.
func TestBanDeniesWhatItIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		a, b := newIdentity(t), newIdentity(t)
		for _, name := range []string{"bad.relay.test", "x.bad.relay.test", "good.relay.test"} {
			r.allowed(a, name, "")
		}
		r.allowed(b, "b.relay.test", "")
		r.ban(names.Ban{Kind: names.BanName, Of: "BAD.relay.test.", Reason: "phishing"})
		r.ban(names.Ban{Kind: names.BanIdentity, Of: b.label(), Until: time.Now().Add(time.Hour)})
		r.ban(names.Ban{Kind: names.BanAddress, Of: "192.0.2.7/24"})
		r.ban(names.Ban{Kind: names.BanAddress, Of: "2001:db8::1"})
		check := func() {
			t.Helper()
			denied(t, r.claim(a, "bad.relay.test", ""), names.DeniedBanned)
			denied(t, r.claim(a, "x.bad.relay.test", ""), names.DeniedBanned)
			denied(t, r.claim(newIdentity(t), "new.bad.relay.test", ""), names.DeniedBanned)
			denied(t, r.claim(b, "b.relay.test", ""), names.DeniedBanned)
			denied(t, r.claim(b, b.label(), ""), names.DeniedBanned)
			denied(t, r.claimFrom(a, "good.relay.test", "192.0.2.255"), names.DeniedBanned)
			denied(t, r.claimFrom(a, "good.relay.test", "::ffff:192.0.2.1"), names.DeniedBanned)
			denied(t, r.claimFrom(a, a.label(), "2001:db8::1"), names.DeniedBanned)
			if err := errors.Join(r.claimFrom(a, "good.relay.test", "192.0.3.1"), r.claimFrom(a, "good.relay.test", "2001:db8::2")); err != nil {
				t.Error(err)
			}
			r.allowed(a, "notbad.relay.test", "")
			if known, _, err := r.names.Look("bad.relay.test"); known || err != nil {
				t.Errorf("visitors wait for a banned name, or %v", err)
			}
		}
		check()
		var d *names.Denied
		if err := r.claim(a, "bad.relay.test", ""); !errors.As(err, &d) || d.Text != "the relay's operator has banned this name: phishing" {
			t.Errorf("told %v", err)
		}
		r.grants().Close()
		r.names = &names.Names{Grants: openGrants(t, r.dir)}
		r.names.Begin(zone)
		check()

		time.Sleep(2 * time.Hour)
		r.allowed(b, "b.relay.test", "") // its ban is over
		if err := errors.Join(r.names.Unban(names.BanName, "bad.relay.test"), r.names.Unban(names.BanAddress, "192.0.2.0/24")); err != nil {
			t.Fatal(err)
		}
		r.allowed(a, "x.bad.relay.test", "")
		if err := r.claimFrom(a, "good.relay.test", "192.0.2.255"); err != nil {
			t.Error(err)
		}
		for kind, n := range map[names.BanKind]int{names.BanName: 0, names.BanIdentity: 0, names.BanAddress: 1} {
			if list, err := r.names.Bans(kind); err != nil || len(list) != n {
				t.Errorf("bans of a %s: %+v, %v", kind, list, err)
			}
		}
		r.grants().Close()
	})
}

// What cannot be banned is refused, and what is not banned cannot be lifted.
func TestBanOfNothing(t *testing.T) {
	r := newRig(t, nil)
	for _, b := range []names.Ban{
		{Kind: names.BanName, Of: "a b"}, {Kind: names.BanName}, {Kind: names.BanIdentity, Of: "short"}, {Kind: names.BanIdentity},
		{Kind: names.BanAddress, Of: "192.0.2.0/33"}, {Kind: names.BanAddress, Of: "relay.test"}, {Kind: names.BanAddress, Of: "fe80::1%eth0"},
		{Kind: names.BanAddress, Of: "::ffff:0:0/80"}, {Kind: "color", Of: "red"}, {},
	} {
		if _, err := r.names.Ban(b); err == nil {
			t.Errorf("%+v is banned", b)
		}
	}
	if err := r.names.Unban(names.BanName, "a.relay.test"); !errors.Is(err, names.ErrNone) {
		t.Errorf("lifted: %v", err)
	}
}

// A claim that is under way when the ban comes is not granted, wherever it is.
func TestBanBeatsAClaimUnderWay(t *testing.T) {
	for round := range 50 {
		r := newRig(t, nil)
		id := newIdentity(t)
		name := "a.relay.test"
		claimed := make(chan error, 1)
		go func() { claimed <- r.claim(id, name, "") }()
		r.ban(names.Ban{Kind: []names.BanKind{names.BanName, names.BanIdentity}[round%2], Of: []string{name, keyname.Label(public(id), "")}[round%2]})
		<-claimed // either way
		denied(t, r.claim(id, name, ""), names.DeniedBanned)
	}
}

// The smallest range that has an address is the one that is told of, however many
// there are.
func TestSmallestBannedRangeCounts(t *testing.T) {
	r := newRig(t, nil)
	for _, bits := range []int{8, 32, 16, 24, 0} {
		r.ban(names.Ban{Kind: names.BanAddress, Of: fmt.Sprintf("10.1.2.3/%d", bits), Reason: fmt.Sprint(bits)})
	}
	for from, want := range map[string]string{"10.1.2.3": "32", "10.1.2.4": "24", "10.1.3.4": "16", "10.2.3.4": "8", "11.1.2.3": "0"} {
		if b, ok := r.names.BannedAddress(netip.MustParseAddr(from)); !ok || b.Reason != want {
			t.Errorf("%s: %+v, %v", from, b, ok)
		}
	}
	for _, from := range []netip.Addr{netip.MustParseAddr("::1"), {}} {
		if b, ok := r.names.BannedAddress(from); ok {
			t.Errorf("%v: %+v", from, b)
		}
	}
}
