package relay_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// expectLost waits until a device has lost a name.
func (d *device) expectLost(t testing.TB, name string, code framing.DenialCode) {
	t.Helper()
	select {
	case l := <-d.lost:
		if l.Name != name || l.Code != code {
			t.Errorf("lost %+v, want %s with code %d", l, name, code)
		}
	case <-d.Done():
		t.Errorf("the link ended: %v", d.Err())
	case <-time.After(patience):
		t.Error("nothing was lost")
	}
}

// keeps checks that a device has lost nothing.
func (d *device) keeps(t testing.TB) {
	t.Helper()
	select {
	case l := <-d.lost:
		t.Errorf("lost %v", l)
	case <-d.Done():
		t.Errorf("the link ended: %v", d.Err())
	default:
	}
}

// A draining device gets no new visitors, and keeps those that it has. One that
// is replaced while it drains hears nothing of it.
func TestDrainingDeviceGetsNoNewVisitors(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id.at(1, 1), "a.relay.test")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	s, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
		t.Fatal(err)
	}
	denied(t, d.Claim(t.Context(), framing.Claim{Name: "c.relay.test"}), framing.DeniedUnavailable)
	next := r.device(id.at(2, 2), "a.relay.test").echo("next")
	r.reaches("a.relay.test", "next")
	s.Write([]byte("still here"))
	s.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "still here" || err != nil {
		t.Errorf("the visitor got %q, %v", b, err)
	}
	d.keeps(t)
	next.keeps(t)
}

// A link that claims no name is sent away after 30 s, one that has a name not.
func TestLinkWithoutANameIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) { s.Names.Policy = names.Closed })
		d, named := r.device(newIdentity(t)), newIdentity(t)
		denied(t, d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedClosed)
		other := r.device(named, named.label())
		start := time.Now()
		if g := <-d.goAway; g.Code != framing.GoAwayIdle || time.Since(start).Round(time.Second) != 30*time.Second {
			t.Errorf("%+v after %v", g, time.Since(start))
		}
		<-d.Done()
		if err := d.Err(); err != io.EOF {
			t.Errorf("the link ended with %v", err)
		}
		time.Sleep(time.Hour)
		other.keeps(t)
		r.close()
	})
}

// Links of which each takes a name from the one before keep no name that leads to them no more,
// however often that goes round.
func TestLinksKeepNoNameThatTheyHaveLost(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	older, newer := r.device(id.at(1, 1)), r.device(id.at(2, 2))
	for range 20 {
		older.claimBy(t, nil, shared)
		newer.claimBy(t, nil, shared)
		older.expectLost(t, shared, framing.DeniedReplaced)
		if n := r.srv.NamesKept(); n != 1 {
			t.Fatalf("two links with one name keep %d", n)
		}
		if err := newer.Unclaim(t.Context(), shared); err != nil {
			t.Fatal(err)
		}
	}
	older.claimBy(t, nil, shared)
	r.srv.ClaimedElsewhere(claimed(id.at(3, 3), shared, false))
	older.expectLost(t, shared, framing.DeniedReplaced)
	if n := r.srv.NamesKept(); n != 0 {
		t.Errorf("links without a name keep %d", n)
	}
}

// A link that goes away may finish its visitors, and is closed then.
func TestLinkThatGoesAwayIsClosedWithoutVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		d := r.device(newIdentity(t), shared).echo("a")
		c := r.dial()
		hello := helloFor(t, shared)
		c.Write(hello)
		says(t, c, "a:"+string(hello))
		if err := d.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		c.Write([]byte("still here"))
		says(t, c, "still here")
		c.Close()
		select {
		case <-d.Done():
		case <-time.After(30*time.Second + time.Millisecond):
			t.Error("it is open half a minute after the last visitor")
		}
		r.close()
	})
}

// A link that has given up its last name is sent away likewise, once its visitors have left.
func TestLinkThatHasNoNameAnyMoreIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		d := r.device(newIdentity(t), "a.relay.test").echo("a")
		c := r.dial()
		hello := helloFor(t, "a.relay.test")
		c.Write(hello)
		says(t, c, "a:"+string(hello))
		if err := d.Unclaim(t.Context(), "a.relay.test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		c.Write([]byte("still here"))
		says(t, c, "still here")
		c.Close()
		start := time.Now()
		if g := <-d.goAway; g.Code != framing.GoAwayIdle || time.Since(start) > 30*time.Second {
			t.Errorf("%+v after %v", g, time.Since(start))
		}
		<-d.Done()
		r.close()
	})
}

// So is a link that has lost its last name, however that came; one that gets another name in
// time stays.
func TestLinkWithoutANameIsSentAwayHoweverItWasLost(t *testing.T) {
	const name = "a.relay.test"
	for what, lose := range map[string]func(*testing.T, *rig, identity, *device){
		"unclaimed": func(t *testing.T, r *rig, id identity, d *device) {
			if err := d.Unclaim(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		},
		"released": func(t *testing.T, r *rig, id identity, d *device) {
			if err := d.Release(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		},
		"released on another link": func(t *testing.T, r *rig, id identity, d *device) {
			if err := r.device(id.at(2, 2)).Release(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		},
		"taken by a newer run": func(t *testing.T, r *rig, id identity, d *device) {
			r.device(id.at(2, 2), name)
		},
		"taken in the new process": func(t *testing.T, r *rig, id identity, d *device) {
			r.srv.ClaimedElsewhere(claimed(id.at(2, 2), name, false))
		},
		"banned": func(t *testing.T, r *rig, id identity, d *device) {
			r.srv.Cut(relay.Cut{Name: name, Why: names.Denied{Name: name, Code: names.DeniedBanned, Text: "banned"}})
		},
		"its month is used up": func(t *testing.T, r *rig, id identity, d *device) {
			d.echo("a")
			c := r.dial()
			c.Write(helloFor(t, name))
			go c.Write(make([]byte, 4<<20))
			io.Copy(io.Discard, c)
			r.refused(name, internalError) // the next visitor
		},
	} {
		t.Run(what, func(t *testing.T) {
			for again, want := range map[bool]framing.GoAwayCode{false: framing.GoAwayIdle, true: 0} {
				synctest.Test(t, func(t *testing.T) {
					r := memRig(t, func(s *relay.Server) {
						s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{BytesPerMonth: 1 << 20}})
					})
					id := newIdentity(t).at(1, 1)
					d := r.device(id, name)
					time.Sleep(time.Minute)
					lose(t, r, id, d)
					start := time.Now()
					if again {
						time.Sleep(20 * time.Second)
						if err := d.Claim(t.Context(), framing.Claim{Name: "b.relay.test"}); err != nil {
							t.Fatal(err)
						}
					}
					select {
					case g := <-d.goAway:
						if g.Code != want || time.Since(start).Round(time.Second) != 30*time.Second {
							t.Errorf("%+v after %v", g, time.Since(start))
						}
						<-d.Done()
					case <-time.After(time.Hour):
						if want != 0 {
							t.Error("an hour later the link is up without a name")
						}
					}
					r.close()
				})
			}
		})
	}
}

// A device that dies without a word is away within 20 s.
func TestSilentDeviceIsAwayInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		var c conn
		dial := r.dial
		r.dial = func() conn { c = dial(); return c }
		r.device(newIdentity(t), "a.relay.test").echo("a")
		r.dial = dial
		r.reaches("a.relay.test", "a")
		c.(interface{ Cut() }).Cut()
		start := time.Now()
		// The visitors of the dead link are cut when it is noticed, those after
		// that are held.
		_, err := r.visit("a.relay.test", "")
		if took := time.Since(start); err == nil || took > 20*time.Second {
			t.Errorf("a visitor got %v after %v", err, took)
		}
		r.refused("a.relay.test", internalError)
		if !strings.Contains(r.log.String(), framing.ErrSilent.Error()) {
			t.Error("the log does not say why the link ended")
		}
		r.close()
	})
}
