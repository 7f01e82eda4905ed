package remote_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// eventLog keeps the events of a device.
type eventLog chan remote.Event

// next returns the next event of one of the kinds.
func (e eventLog) next(t *testing.T, kinds ...remote.EventKind) remote.Event {
	t.Helper()
	for {
		select {
		case got := <-e:
			if slices.Contains(kinds, got.Kind) {
				return got
			}
		case <-time.After(patience):
			t.Fatalf("no event %v", kinds)
		}
	}
}

// twoRelays is a device with two relays for each name.
func twoRelays(t *testing.T) (a, b *fakeRelay, d *remote.Device, told eventLog) {
	a = newRelay(t)
	b = newRelay(t, func(r *fakeRelay) { r.ca, r.cert = a.ca, a.ca.Issue("other.test") })
	cfg := a.deviceConfig()
	cfg.Relays, cfg.RelayAddresses = []string{zone, "other.test"}, []string{a.addr, b.addr}
	told = make(eventLog, 100)
	cfg.Events = func(e remote.Event) { told <- e }
	return a, b, a.openDevice(cfg), told
}

// A name that one relay refuses for good is served through the other one. When that
// takes it back for good, its listener ends, and the other names go on.
func TestNameEndsWithItsLastRelay(t *testing.T) {
	a, b, d, told := twoRelays(t)
	b.set(nil, func(name, _ string) error {
		if name == "one.relay.test" {
			return &framing.Denial{Code: framing.DeniedToken, Text: "this relay asks for a token"}
		}
		return nil
	})
	list := a.serveNames(d, "one.relay.test", "two.relay.test")
	if e := told.next(t, remote.Refused); e.Name != "one.relay.test" || e.Relay != "other.test" || e.Err == nil {
		t.Errorf("told %+v", e)
	}
	linkA, linkB := a.next(), b.next()
	v, at := linkA.visit(list[0])
	talk(t, v, at)
	linkA.Revoke(framing.Denial{Name: "one.relay.test", Code: framing.DeniedBanned, Text: "banned"})
	var denial *framing.Denial
	if err := ended(t, list[0]); !errors.As(err, &denial) || denial.Code != framing.DeniedBanned {
		t.Errorf("Accept: %v", err)
	}
	if e := told.next(t, remote.Ended); e.Name != "one.relay.test" || !errors.As(e.Err, &denial) {
		t.Errorf("told %+v", e)
	}
	for _, link := range []*relayLink{linkA, linkB} {
		v, at := link.visit(list[1])
		talk(t, v, at)
	}
}

// A relay that says that a newer run has a name takes it off itself alone, and is not
// asked for it again: two runs must not fight. The other relay goes on with it until it
// says so, too, and the other names stay with this run.
func TestRelayTakesNoNameOffTheOthers(t *testing.T) {
	a, b, d, told := twoRelays(t)
	list := a.serveNames(d, "one.relay.test", "two.relay.test")
	linkA, linkB := a.next(), b.next()
	for range 4 { // each relay has given both names
		told.next(t, remote.Connected)
	}
	claimed := a.names()
	linkA.Revoke(framing.Denial{Name: "one.relay.test", Code: framing.DeniedReplaced, Text: "replaced"})
	told.next(t, remote.Refused)
	v, at := linkB.visit(list[0])
	talk(t, v, at)
	if got := b.takeUnclaimed(); len(got) > 0 {
		t.Errorf("taken off the other relay: %q", got)
	}
	linkB.Revoke(framing.Denial{Name: "one.relay.test", Code: framing.DeniedReplaced, Text: "replaced"})
	var denial *framing.Denial
	if err := ended(t, list[0]); !errors.As(err, &denial) || denial.Code != framing.DeniedReplaced {
		t.Errorf("Accept: %v", err)
	}
	if n := a.names() - claimed; n != 0 {
		t.Errorf("%d names were claimed again", n)
	}
	for _, link := range []*relayLink{linkA, linkB} {
		v, at := link.visit(list[1])
		talk(t, v, at)
	}
}

// The port that a relay says is that of its own names: no other name of the device is looked
// for there. Of relays of one name that say different ones none is believed.
func TestRelaySaysNoPortOfNamesOfAnother(t *testing.T) {
	a, b, d, told := twoRelays(t)
	b.says(22)
	one, two := a.named("one.relay.test"), a.named("two.relay.test")
	one.Relays, one.RelayAddresses = []string{zone}, []string{a.addr}
	two.Relays, two.RelayAddresses = []string{"other.test"}, []string{b.addr}
	both := a.named("both.relay.test")
	list, err := d.Listen(one)
	if err != nil {
		t.Fatal(err)
	}
	a.next()
	more, err := d.Listen(two, both)
	if err != nil {
		t.Fatal(err)
	}
	b.next()
	for range 4 { // each relay has given its names
		told.next(t, remote.Connected)
	}
	list = append(list, more...)
	for i, want := range []struct {
		url       string
		rehearsal int
	}{
		{"https://one.relay.test:8443", 8443},
		{"https://two.relay.test:22", 22},
		{"https://both.relay.test:8443", 443}, // that of the relay that was named first
	} {
		if err := wait(t, list[i]); err != nil {
			t.Fatal(err)
		}
		if got := list[i].URL(); got != want.url {
			t.Errorf("got %s, want %s", got, want.url)
		}
		if got := d.RehearsalPort(list[i].Domain()); got != want.rehearsal {
			t.Errorf("%s is rehearsed at port %d, want %d", list[i].Domain(), got, want.rehearsal)
		}
	}
}

// A relay sends visitors of the names that are served through it, and of no others of
// the device: where these come from is not its word to say.
func TestRelaySendsNoVisitorsOfNamesOfAnother(t *testing.T) {
	a, b, d, _ := twoRelays(t)
	both := a.serveNames(d, "both.relay.test")[0]
	one := a.named("one.relay.test")
	one.Relays, one.RelayAddresses = []string{zone}, []string{a.addr}
	raw := remote.Name{Domain: "raw.relay.test", Raw: true, Relays: one.Relays, RelayAddresses: one.RelayAddresses}
	list, err := d.Listen(one, raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	linkA, linkB := a.next(), b.next()
	for _, ln := range list {
		for _, kind := range []framing.Kind{framing.KindTLS, framing.KindHTTP01} {
			var reset *framing.ResetError
			if _, err := linkB.open(ln.Domain(), kind).Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != framing.ResetRefused {
				t.Errorf("%s, kind %d: %v, want a refusal", ln.Domain(), kind, err)
			}
		}
	}
	for _, link := range []*relayLink{linkA, linkB} {
		v, at := link.visit(both)
		talk(t, v, at)
	}
	v, at := linkA.visit(list[0])
	talk(t, v, at)
}

// A name is not remembered with a relay that has refused it for good before another one gave it.
func TestNameIsNotRememberedWhereItIsAnotherDevices(t *testing.T) {
	a := newRelay(t)
	b := newRelay(t, func(r *fakeRelay) { r.ca, r.cert = a.ca, a.ca.Issue("other.test") })
	a.set(nil, func(string, string) error {
		return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
	})
	b.set(nil, func(string, string) error {
		return &framing.Denial{Code: framing.DeniedUnavailable, Text: "not now", Retry: time.Second}
	})
	told, cfg := make(eventLog, 100), a.deviceConfig()
	cfg.Relays, cfg.RelayAddresses = []string{zone, "other.test"}, []string{a.addr, b.addr}
	cfg.Events = func(e remote.Event) { told <- e }
	if _, err := a.openDevice(cfg).Listen(a.named(domain)); err != nil {
		t.Fatal(err)
	}
	if e := told.next(t, remote.Refused); e.Relay != zone {
		t.Fatalf("told %+v", e)
	}
	b.set(nil, nil)
	told.next(t, remote.Connected)
	info, err := remote.ShowIdentity(cfg.StateDir)
	if err != nil || len(info.Names) != 1 || !slices.Equal(info.Names[0].Relays, []string{"other.test"}) {
		t.Errorf("remembered are %+v, %v", info.Names, err)
	}
}
