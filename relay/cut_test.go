package relay_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay"
	"keystay/relay/names"
)

// identity is what the operator calls the device.
func (id identity) identity() string {
	return keyname.Label(id.key.Public().(ed25519.PublicKey), "")
}

// talking returns a visitor of name who has an answer of the device behind it.
func (r *rig) talking(name string) conn {
	r.t.Helper()
	c := r.dial()
	c.Write(helloFor(r.t, name))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		r.t.Fatalf("a visitor of %s: %v", name, err)
	}
	return c
}

// broken checks that the visitor's connection is broken, and does not end in good
// order.
func broken(t *testing.T, c conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor's connection ended with %v, want a reset", err)
	}
}

// goesOn checks that a visitor is still served.
func goesOn(t *testing.T, c conn) {
	t.Helper()
	const say = "are you there"
	c.Write([]byte(say))
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) < len(say) || string(b[len(b)-len(say):]) != say {
		t.Errorf("the visitor got %.40q, %v", b, err)
	}
}

var banned = names.Denied{Code: names.DeniedBanned, Text: "phishing"}

// Each way to name a device cuts what is meant and nothing else, within a second:
// its links, which are told why, and its visitors, whose connections are reset.
func TestCutEndsWhatIsMeantWithinASecond(t *testing.T) {
	for _, c := range []struct {
		name  string
		cut   func(id identity, d *device) relay.Cut
		want  relay.Severed
		stays bool // the links stay
		lost  framing.DenialCode
	}{
		{"an identity", func(id identity, _ *device) relay.Cut { return relay.Cut{Identity: id.identity()} }, relay.Severed{Links: 2, Visitors: 2}, false, 0},
		{"who serves a name", func(identity, *device) relay.Cut { return relay.Cut{Name: "a.relay.test"} }, relay.Severed{Links: 2, Visitors: 2}, false, 0},
		{"an identity for good", func(id identity, _ *device) relay.Cut { return relay.Cut{Identity: id.identity(), Why: banned} },
			relay.Severed{Links: 2, Names: 2, Visitors: 2}, false, framing.DeniedBanned},
		{"a name for good", func(identity, *device) relay.Cut { return relay.Cut{Name: "a.relay.test", Why: banned} },
			relay.Severed{Names: 1, Visitors: 1}, true, framing.DeniedBanned},
		{"a name of an identity", func(id identity, _ *device) relay.Cut {
			return relay.Cut{Identity: id.identity(), Name: "a.relay.test", Why: names.Denied{Code: names.DeniedTaken}}
		}, relay.Severed{Names: 1, Visitors: 1}, true, framing.DeniedTaken},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				id := newIdentity(t)
				d := r.device(id, "a.relay.test", "b.relay.test").echo("d")
				r.device(id, "a.relay.test", "b.relay.test").echo("d")
				r.device(newIdentity(t), "other.relay.test").echo("o")
				a, b, other := r.talking("a.relay.test"), r.talking("b.relay.test"), r.talking("other.relay.test")

				cut := c.cut(id, d)
				begin := time.Now()
				if got := r.srv.Cut(cut); got != c.want {
					t.Errorf("cut %+v, want %+v", got, c.want)
				}
				broken(t, a)
				if c.stays {
					goesOn(t, b)
				} else {
					broken(t, b)
					<-d.Done()
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("it took %v", took)
				}
				goesOn(t, other)
				if c.lost != 0 {
					if l := <-d.lost; l.Code != c.lost || l.Text != cut.Why.Text {
						t.Errorf("the remote was told %+v", l)
					}
				}
				if !c.stays {
					if g := <-d.goAway; g.Text != cut.Why.Text {
						t.Errorf("the remote was told %+v", g)
					}
				}
			})
		})
	}
}

// A link is named by the address that it comes from; the other link of the remote
// stays.
func TestCutOfOneLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		first := r.device(id, "a.relay.test").echo("d")
		list, _, err := r.srv.Remotes(relay.Which{}, "", 1)
		if err != nil || len(list) != 1 || len(list[0].Links) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		second := r.device(id, "a.relay.test").echo("d")
		if n := r.srv.Cut(relay.Cut{Address: list[0].Links[0].Address}); n.Links != 1 {
			t.Errorf("cut %+v", n)
		}
		<-first.Done()
		r.reaches("a.relay.test", "d")
		if second.Err() != nil {
			t.Error("the other link is cut too")
		}
	})
}

// A remote that takes nothing of what it is told is cut within a second all the same.
func TestCutDoesNotWaitForARemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		hang := make(chan struct{})
		defer close(hang)
		d := &device{}
		if err := r.linkWith(d, id, framing.Handler{GoAway: func(framing.GoAway) { <-hang }}); err != nil {
			t.Fatal(err)
		}
		if err := d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}); err != nil {
			t.Fatal(err)
		}
		d.echo("d")
		v := r.talking("a.relay.test")
		begin := time.Now()
		r.srv.Cut(relay.Cut{Identity: id.identity()})
		broken(t, v)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Visitors from a range of addresses are cut, those who have not said their name yet
// too, and the links from there; nobody else is.
func TestCutOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		r.device(newIdentity(t), "a.relay.test").echo("d") // from 192.0.2.1
		usual := r.dial
		from := func(addr string) {
			r.dial = func() conn {
				c, err := r.mem.DialFrom(context.Background(), &net.TCPAddr{IP: net.ParseIP(addr), Port: 1234})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
		}
		from("203.0.113.7")
		gone := r.device(newIdentity(t), "b.relay.test").echo("b")
		bad, silent := r.talking("a.relay.test"), r.dial()
		silent.Write([]byte{22, 3, 1})
		synctest.Wait()
		from("203.0.114.7")
		near := r.talking("a.relay.test")
		r.dial = usual
		good := r.talking("a.relay.test")

		n := r.srv.Cut(relay.Cut{Addresses: netip.MustParsePrefix("203.0.113.0/24"), Why: banned})
		if want := (relay.Severed{Links: 1, Names: 1, Visitors: 1}); n != want {
			t.Errorf("cut %+v, want %+v", n, want)
		}
		broken(t, bad)
		broken(t, silent)
		<-gone.Done()
		goesOn(t, near)
		goesOn(t, good)
	})
}

// What is banned is refused: a link with why, also after a restart of the relay.
func TestBannedIdentityIsRefused(t *testing.T) {
	r := newServer(t, nil)
	id := newIdentity(t)
	r.listen()
	d := r.device(id, "a.relay.test")
	ban, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: id.identity(), Reason: "phishing"})
	if err != nil {
		t.Fatal(err)
	}
	r.srv.Cut(relay.Cut{Identity: id.identity(), Why: names.Denied{Code: names.DeniedBanned, Text: ban.Text()}})
	<-d.Done()
	refused := func(r *rig) {
		t.Helper()
		_, err := r.link(id)
		var refusal *framing.Refusal
		if !errors.As(err, &refusal) || refusal.Code != framing.RefusedBanned || refusal.Text != ban.Text() {
			t.Errorf("it was answered %v", err)
		}
	}
	refused(r)
	r.close()
	again := newServer(t, func(s *relay.Server) { s.Names = &names.Names{Grants: r.srv.Names.Grants} })
	again.listen()
	refused(again)
}

// Visitors of a device that is banned do not wait for it: they are refused at once.
func TestVisitorsOfABannedIdentityDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		r.device(id, "a.relay.test", id.label())
		if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: id.identity()}); err != nil {
			t.Fatal(err)
		}
		r.srv.Cut(relay.Cut{Identity: id.identity(), Why: banned})
		begin := time.Now()
		r.refused("a.relay.test", unrecognizedName)
		r.refused(id.label(), unrecognizedName)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Visitors and remotes from a range of addresses that is banned are refused, each in
// the way its program can show.
func TestBannedAddressIsRefused(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.device(id, "a.relay.test").echo("a")
	r.reaches("a.relay.test", "a")
	ban, err := r.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	const accessDenied = "\x15\x03\x03\x00\x02\x02\x31"
	r.refused("a.relay.test", accessDenied)
	r.refused("nobody.relay.test", accessDenied)
	_, err = r.link(newIdentity(t))
	var refusal *framing.Refusal
	if !errors.As(err, &refusal) || refusal.Code != framing.RefusedBanned || refusal.Text != ban.Text() {
		t.Errorf("it was answered %v", err)
	}
	if err := r.srv.Names.Unban(names.BanAddress, "127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	r.reaches("a.relay.test", "a")
}

// A claim that is under way while its name is banned is not granted.
func TestNoClaimSlipsPastABan(t *testing.T) {
	r := newServer(t, nil)
	id := newIdentity(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	r.srv.Names.Ask = func(context.Context, names.Claimant) error { close(asked); <-goOn; return nil }
	r.listen()
	d, err := r.link(id)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}) }()
	<-asked
	if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanName, Of: "a.relay.test"}); err != nil {
		t.Fatal(err)
	}
	r.srv.Cut(relay.Cut{Name: "a.relay.test", Why: banned})
	close(goOn)
	denied(t, <-answer, framing.DeniedBanned)
}

// The streams of a link that is lost go on over lanes, and are cut with its identity.
func TestCutFindsLanesWithoutALink(t *testing.T) {
	for _, away := range []bool{false, true} {
		r := newRig(t, nil)
		id := newIdentity(t)
		d := r.device(id, "a.relay.test")
		v, stream := r.onLane(d, "a.relay.test")
		if away {
			d.GoAway(t.Context(), framing.GoAway{})
		}
		d.Close()
		r.waitForLog("remote disconnected")
		if n := r.srv.Cut(relay.Cut{Identity: id.identity(), Why: banned}); n.Visitors != 1 {
			t.Errorf("cut %+v", n)
		}
		v.SetDeadline(time.Now().Add(patience))
		broken(t, v)
		stream.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{stream}); err == nil {
			t.Error("the stream ended in good order at the remote")
		}
		r.close()
	}
}

// OnCut hears of each cut.
func TestOnCutHearsOfEachCut(t *testing.T) {
	var heard []relay.Cut
	r := newRig(t, func(s *relay.Server) { s.OnCut = func(c relay.Cut) { heard = append(heard, c) } })
	id := newIdentity(t)
	d := r.device(id, "a.relay.test")
	if _, err := r.srv.Names.Take("a.relay.test", "mine", false); err != nil {
		t.Fatal(err)
	}
	if l := <-d.lost; l.Code != framing.DeniedTaken {
		t.Errorf("the remote was told %+v", l)
	}
	if len(heard) != 1 || heard[0].Identity != id.identity() || heard[0].Name != "a.relay.test" || heard[0].Why.Code != names.DeniedTaken {
		t.Errorf("heard %+v", heard)
	}
}

// A device that loses a name by a ban is told until when, whatever reason the operator gives.
func TestLostNameTellsUntilWhenItIsBanned(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "a.relay.test")
	b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanName, Of: "a.relay.test", Reason: strings.Repeat("ä", 250), Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	r.srv.Cut(relay.CutOf(b))
	if l := <-d.lost; !strings.Contains(l.Text, ", until ") || strings.Contains(l.Text, "\uFFFD") {
		t.Errorf("told %d bytes: %s", len(l.Text), l.Text)
	}
}
