package names_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// handOver makes identities hand over, one to the next, and the last but one to the
// last.
func (r *rig) handOver(ids ...identity) ([]ed25519.PublicKey, error) {
	var from []ed25519.PublicKey
	for _, id := range ids[:len(ids)-1] {
		from = append(from, public(id))
	}
	return r.names.HandOver(names.Claimant{Name: "claimed." + zone, Key: public(ids[len(ids)-1]), Source: netip.MustParseAddr("192.0.2.1")}, from)
}

// handed makes identities hand over, which works.
func (r *rig) handed(ids ...identity) {
	r.t.Helper()
	if retired, err := r.handOver(ids...); err != nil || len(retired) != len(ids)-1 {
		r.t.Fatalf("retired %d, %v", len(retired), err)
	}
}

// hasAll checks that these names are an identity's, and no others.
func (r *rig) hasAll(id identity, want ...string) {
	r.t.Helper()
	list, _, _, err := r.names.List(names.Filter{Identity: keyname.Label(public(id), "")}, "", 100)
	var got []string
	for _, g := range list {
		got = append(got, g.Name)
	}
	if slices.Sort(want); err != nil || !slices.Equal(got, want) {
		r.t.Errorf("it holds %q, want %q, %v", got, want, err)
	}
}

// All that an identity has is its heir's, with everything that is known of it, and for
// good: the old key gets nothing any more.
func TestHeirHasAllThatTheOldIdentityHad(t *testing.T) {
	var told []string
	r := newRig(t, func(n *names.Names) {
		n.Policy = names.WithToken
		n.OnChange = func(c names.Change) { told = append(told, c.What+" "+c.Name) }
	})
	a, b, other := newIdentity(t), newIdentity(t), newIdentity(t)
	secret, info := r.token(names.TokenInfo{Names: []string{"*." + zone}, Bind: true})
	r.allowed(a, "one."+zone, secret)
	r.allowed(a, "two."+zone, secret)
	r.allowed(a, "gone."+zone, secret)
	r.allowed(a, a.label(), "")
	if err := r.names.Release("gone."+zone, public(a)); err != nil {
		t.Fatal(err)
	}
	before, _ := r.names.Show("one." + zone)
	told = nil
	r.handed(a, b)
	r.hasAll(a)
	r.hasAll(b, "one."+zone, "two."+zone, "gone."+zone)
	want := []string{"moved gone." + zone, "moved one." + zone, "moved two." + zone, "retired "}
	if slices.Sort(told); !slices.Equal(told, want) {
		t.Errorf("the audit log has %q", told)
	}
	after, err := r.names.Show("one." + zone)
	before.Identity = keyname.Label(public(b), "")
	if err != nil || after != before || after.Token != info.ID {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}

	r.allowed(b, "one."+zone, "")
	r.allowed(b, "gone."+zone, secret) // which was kept for the device
	r.allowed(b, "new."+zone, secret)  // the token knows the heir
	for _, name := range []string{"one." + zone, "new." + zone, "free." + zone, a.label(), "x." + a.label()} {
		denied(t, r.claim(a, name, secret), names.DeniedTaken)
	}
	denied(t, r.claim(b, a.label(), secret), names.DeniedTaken) // a name made from a key does not move
	denied(t, r.claim(other, "one."+zone, ""), names.DeniedTaken)
	r.allowed(b, b.label(), "")
}

// A name below one made from the old key proves that key, and stays behind.
func TestNamesBelowAKeyNameStayBehind(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, "x."+a.label(), "")
	r.allowed(a, "x."+zone, "")
	r.handed(a, b)
	r.hasAll(b, "x."+zone)
	denied(t, r.claim(b, "x."+a.label(), ""), names.DeniedTaken)
}

// A hand-over works once. What somebody shows later who has the old key, or an older
// hand-over, changes nothing; and no retired key comes back.
func TestHandoverWorksOnce(t *testing.T) {
	r := newRig(t, nil)
	a, b, c, thief := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	r.allowed(a, "one."+zone, "")
	r.handed(a, b)
	r.allowed(b, "two."+zone, "")
	writes := r.grants().Writes()
	for what, ids := range map[string][]identity{"again": {a, b}, "by a thief of the old key": {a, thief}} {
		if retired, err := r.handOver(ids...); err != nil || len(retired) > 0 {
			t.Errorf("%s: retired %d, %v", what, len(retired), err)
		}
	}
	if got := r.grants().Writes(); got != writes {
		t.Errorf("%d transactions were written", got-writes)
	}
	if _, err := r.handOver(b, a); err == nil { // back to the key that has leaked
		t.Error("a retired identity has got names")
	}
	r.hasAll(b, "one."+zone, "two."+zone)
	r.handed(b, c)
	r.hasAll(c, "one."+zone, "two."+zone)
	if _, err := r.handOver(a, b); err == nil {
		t.Error("a hand-over to an identity that is retired by now was taken")
	}
	r.hasAll(c, "one."+zone, "two."+zone)
}

// A relay that was away hears of several hand-overs at once, some of which it may know.
func TestSeveralHandoversAtOnce(t *testing.T) {
	r := newRig(t, nil)
	a, b, c, d := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	r.allowed(a, "one."+zone, "")
	r.handed(a, b)
	r.allowed(b, "two."+zone, "")
	if retired, err := r.handOver(a, b, c, d); err != nil || len(retired) != 2 {
		t.Errorf("retired %d, %v", len(retired), err)
	}
	r.hasAll(d, "one."+zone, "two."+zone)
	for _, id := range []identity{a, b, c} {
		denied(t, r.claim(id, "free."+zone, ""), names.DeniedTaken)
	}
}

// A banned identity hands nothing over, and neither is a banned one an heir.
func TestBannedIdentityHandsNothingOver(t *testing.T) {
	r := newRig(t, nil)
	a, b, c := newIdentity(t), newIdentity(t), newIdentity(t)
	r.allowed(a, "one."+zone, "")
	for _, id := range []identity{a, b, c} {
		label := keyname.Label(public(id), "")
		r.ban(names.Ban{Kind: names.BanIdentity, Of: label})
		_, err := r.handOver(a, b, c)
		denied(t, err, names.DeniedBanned)
		r.hasAll(a, "one."+zone)
		if err := r.names.Unban(names.BanIdentity, label); err != nil {
			t.Fatal(err)
		}
	}
	r.ban(names.Ban{Kind: names.BanAddress, Of: "192.0.2.0/24"})
	_, err := r.handOver(a, b)
	denied(t, err, names.DeniedBanned)
}

// Names do not add up by hand-overs: who has some already gets no more than anybody.
func TestLimitCountsWhatIsHandedOver(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.NamesPerIdentity = 3 })
	a, b, c, d := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	give := func(id identity, list ...string) {
		for _, name := range list {
			r.allowed(id, name+"."+zone, "")
		}
	}
	give(a, "a1", "a2")
	give(b, "b1", "b2")
	give(c, "c1")
	_, err := r.handOver(a, b)
	denied(t, err, names.DeniedLimit)
	r.hasAll(a, "a1."+zone, "a2."+zone)
	_, err = r.handOver(a, b, d) // nothing of it, rather than a part
	denied(t, err, names.DeniedLimit)
	r.hasAll(d)
	r.handed(a, c)
	r.hasAll(c, "a1."+zone, "a2."+zone, "c1."+zone)
	denied(t, r.claim(c, "more."+zone, ""), names.DeniedLimit)
	r.names.SetRules(names.Rules{NamesPerIdentity: 1}) // what it had once it keeps
	r.handed(c, d)
	r.hasAll(d, "a1."+zone, "a2."+zone, "c1."+zone)
}

// Hand-overs count for the network that they come from, each key as one new name; one
// that changes nothing does not.
func TestQuotaCountsHandovers(t *testing.T) {
	n, allow := 0, true
	r := newRig(t, nil)
	r.names.Quota = func(c names.Claimant) (time.Duration, bool) {
		n += max(1, c.Retires)
		return time.Minute, allow
	}
	a, b, c, d := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	r.allowed(a, "one."+zone, "")
	n, allow = 0, false
	_, err := r.handOver(a, b)
	denied(t, err, names.DeniedLimit)
	allow = true
	r.handed(a, b)
	r.handOver(a, b)
	if n != 2 {
		t.Errorf("%d were counted", n)
	}
	n = 0
	r.handOver(a, b, c, d)
	if n != 2 {
		t.Errorf("two more keys are counted as %d", n)
	}
}

// Of two links that show one hand-over at once the slower one hears that it is done, also
// where its network has no part left by then: there is nothing to wait for.
func TestHandoverDoneMeanwhileNeedsNoQuota(t *testing.T) {
	r := newRig(t, nil)
	a, b, other := newIdentity(t), newIdentity(t), newIdentity(t)
	r.allowed(a, "one."+zone, "")
	left, faster := 1, true
	r.names.Quota = func(c names.Claimant) (time.Duration, bool) {
		if faster {
			faster = false
			r.handed(a, b)
		}
		left -= max(1, c.Retires)
		return 24 * time.Hour, left >= 0
	}
	if retired, err := r.handOver(a, b); err != nil || len(retired) > 0 {
		t.Errorf("retired %d, %v", len(retired), err)
	}
	r.hasAll(b, "one."+zone)
	_, err := r.handOver(b, other) // which nobody has done
	denied(t, err, names.DeniedLimit)
}

// A hand-over that is denied since both keys have too many names counts for no network,
// however often the device shows it.
func TestHandoverBeyondTheLimitIsNotCounted(t *testing.T) {
	units := 0
	r := newRig(t, func(n *names.Names) { n.NamesPerIdentity = 2 })
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, "a1."+zone, "")
	r.allowed(a, "a2."+zone, "")
	r.allowed(b, "b."+zone, "")
	r.names.Quota = func(c names.Claimant) (time.Duration, bool) { units += max(1, c.Retires); return 0, true }
	for range 3 {
		_, err := r.handOver(a, b)
		denied(t, err, names.DeniedLimit)
	}
	if units != 0 {
		t.Errorf("%d are counted", units)
	}
	r.names.SetRules(names.Rules{NamesPerIdentity: 3})
	r.handed(a, b)
	if units != 1 {
		t.Errorf("then %d are counted, want 1", units)
	}
}

// A hand-over that there is no room to remember is an error, so that the device goes on
// showing it: nothing has changed, and it counts for no network. Keys that come without
// any name leave half of the room to others.
func TestHandoverThatIsNotRememberedIsDenied(t *testing.T) {
	units := 0
	r := newRig(t, func(n *names.Names) {
		n.Quota = func(names.Claimant) (time.Duration, bool) { units++; return 0, true }
	})
	if err := r.grants().Retire(names.MaxRetired/2 - 1); err != nil {
		t.Fatal(err)
	}
	a, b, c, d := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	full := func(ids ...identity) {
		t.Helper()
		_, err := r.handOver(ids...)
		denied(t, err, names.DeniedLimit)
		d := new(names.Denied)
		if !errors.As(err, &d) || d.Retry == 0 {
			t.Errorf("the device is not told when to show it again: %v", err)
		}
		if lines := strings.Join(d.Hints, "\n"); !strings.Contains(lines, "each of them 455 days after it was taken") || strings.Contains(lines, "operator") {
			t.Errorf("the device is told to do: %s", lines)
		}
		r.allowed(ids[0], ids[0].label(), "")
	}
	full(a, b, c) // one of the two would have room
	r.handed(a, b)
	units = 0
	full(b, c)
	if units != 0 {
		t.Errorf("%d are counted", units)
	}
	r.allowed(c, "one."+zone, "")
	r.handed(b, c, d) // of one device, which has a name
	r.hasAll(d, "one."+zone)
	if err := r.grants().Retire(names.MaxRetired - 3); err != nil {
		t.Fatal(err)
	}
	full(d, newIdentity(t))
	r.hasAll(d, "one."+zone)
}

// How long a hand-over is remembered goes by how long names are kept.
func TestTimeUntilAHandoverIsForgottenIsTold(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.ExpireUnused = 36 * time.Hour })
	if err := r.grants().Retire(names.MaxRetired / 2); err != nil {
		t.Fatal(err)
	}
	_, err := r.handOver(newIdentity(t), newIdentity(t))
	denied(t, err, names.DeniedLimit)
	if d := new(names.Denied); !errors.As(err, &d) || !strings.Contains(strings.Join(d.Hints, "\n"), "each of them 92 days after") {
		t.Errorf("%+v", d)
	}
}

// A custom domain goes along. DNS has to name the heir within the time that a record
// may be missing; and the old key, which DNS still names, does not get it back.
func TestHeirHasADomainUntilDNSMustNameIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dns, lost := newDomainRig(t, nil)
		a, b := newIdentity(t), newIdentity(t)
		dns.name(app, a)
		r.allowed(a, app, "")
		r.handed(a, b)
		time.Sleep(names.LostAfter - names.ProofAge)
		r.allowed(b, app, "")
		denied(t, r.claim(a, app, ""), names.DeniedTaken)
		time.Sleep(names.LostAfter / 2)
		dns.name(app, b)
		r.allowed(b, app, "")
		dns.name(app, a)
		time.Sleep(names.ProofAge)
		r.allowed(b, app, "")
		time.Sleep(names.LostAfter)
		denied(t, r.claim(b, app, ""), names.DeniedUnproven)
		denied(t, r.claim(a, app, ""), names.DeniedTaken)
		if len(*lost) != 1 || !strings.Contains((*lost)[0], keyname.Label(public(b), "")) {
			t.Errorf("lost: %q", *lost)
		}
	})
}

// A failing is a store whose write fails after some changes.
type failing struct {
	names.Store
	left int
}

type failingTx struct {
	names.Tx
	of *failing
}

var errNoRoom = errors.New("no space left on device")

func (s *failing) Update(f func(names.Tx) error) error {
	return s.Store.Update(func(tx names.Tx) error { return f(failingTx{tx, s}) })
}

func (tx failingTx) Set(t names.Table, key, value []byte) error {
	if tx.of.left--; tx.of.left < 0 {
		return errNoRoom
	}
	return tx.Tx.Set(t, key, value)
}

// Wherever it breaks off, all of a hand-over is written or nothing.
func TestHandoverIsWrittenWholeOrNotAtAll(t *testing.T) {
	r := newRig(t, nil)
	store := &failing{Store: r.names.Grants}
	r.names.Grants = store
	a, b := newIdentity(t), newIdentity(t)
	store.left = 1000
	_, _ = r.token(names.TokenInfo{Names: []string{"*." + zone}, Bind: true})
	for i := range 3 {
		r.allowed(a, fmt.Sprint(i, ".", zone), "")
	}
	for n := 0; ; n++ {
		if n > 100 {
			t.Fatal("it never succeeds")
		}
		store.left = n
		_, err := r.handOver(a, b)
		store.left = 1000
		if err == nil {
			break
		}
		if !errors.Is(err, errNoRoom) {
			t.Fatal(err)
		}
		r.hasAll(a, "0."+zone, "1."+zone, "2."+zone)
		r.allowed(a, "0."+zone, "")
	}
	r.hasAll(b, "0."+zone, "1."+zone, "2."+zone)

	if err := store.Store.(*names.Grants).Close(); err != nil { // and outlives the process
		t.Fatal(err)
	}
	again := &rig{t: t, names: &names.Names{Grants: openGrants(t, r.dir)}}
	again.names.Begin(zone)
	again.allowed(b, "0."+zone, "")
	denied(t, again.claim(a, "0."+zone, ""), names.DeniedTaken)
}

// That an identity has handed over is remembered for longer than any of its names
// could be kept for it.
func TestHandoverIsRememberedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		a, b := newIdentity(t), newIdentity(t)
		r.allowed(a, "one."+zone, "")
		r.handed(a, b)
		time.Sleep(names.GrantTime)
		upkeepOnce(t, r)
		denied(t, r.claim(a, a.label(), ""), names.DeniedTaken)
		time.Sleep(2 * names.GraceTime)
		upkeepOnce(t, r)
		r.allowed(a, a.label(), "")
	})
}

// upkeepOnce looks after the record once.
func upkeepOnce(t *testing.T, r *rig) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // after once
	r.names.KeepUp(ctx, nil, nil, slog.New(slog.DiscardHandler))
}

// Those before an identity are found by its label, however many hand-overs there are between.
func TestEarlierIdentitiesAreFound(t *testing.T) {
	r := newRig(t, nil)
	a, b, c, x, y := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
	r.handed(a, b)
	r.handed(b, c)
	r.handed(x, y)
	label := func(id identity) string { return keyname.Label(public(id), "") }
	for of, want := range map[string][]string{label(c): {label(a), label(b)}, label(b): {label(a)}, label(a): nil, label(y): {label(x)}} {
		got := names.Earlier(r.names)(of)
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("before %s are %q, want %q", of, got, want)
		}
	}
}
