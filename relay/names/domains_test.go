package names_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

const app = "app.example.test"

// A fakeDNS says whose domains are.
type fakeDNS struct {
	mu    sync.Mutex
	says  map[string]names.Evidence
	fails map[string]error
	asked map[string]int
	meet  func(domain string) // called before an answer; nil does nothing
}

func newDNS() *fakeDNS {
	return &fakeDNS{says: make(map[string]names.Evidence), fails: make(map[string]error), asked: make(map[string]int)}
}

func (d *fakeDNS) prove(_ context.Context, c names.Claimant) (names.Evidence, error) {
	domain := c.Name
	d.mu.Lock()
	d.asked[domain]++
	e, err, meet := d.says[domain], d.fails[domain], d.meet
	d.mu.Unlock()
	if meet != nil {
		meet(domain)
	}
	return e, err
}

// name makes DNS name exactly these devices for a domain.
func (d *fakeDNS) name(domain string, ids ...identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.fails, domain)
	d.says[domain] = nil
	for _, id := range ids {
		d.says[domain] = append(d.says[domain], names.Mention{Label: keyname.Label(public(id), ""), Via: "txt"})
	}
}

// fail makes DNS not answer for a domain.
func (d *fakeDNS) fail(domain string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[domain] = errors.New("SERVFAIL")
}

func (d *fakeDNS) questions(domain string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[domain]
}

// newDomainRig returns a policy that asks a DNS, and what those were told that lost a
// domain.
func newDomainRig(t *testing.T, set func(*names.Names)) (*rig, *fakeDNS, *[]string) {
	t.Helper()
	d := newDNS()
	lost := new([]string)
	r := newRig(t, func(n *names.Names) {
		n.Prove = d.prove
		n.OnLost = func(l names.Lost) {
			*lost = append(*lost, fmt.Sprintf("%s %d %s", keyname.Label(l.Key, ""), l.Denied.Code, l.Denied.Text))
		}
		if set != nil {
			set(n)
		}
	})
	return r, d, lost
}

// holds checks who has a domain; nil is nobody.
func (r *rig) holds(id *identity, domain string) {
	r.t.Helper()
	key, err := r.grants().Holder(domain)
	switch {
	case err != nil:
		r.t.Error(err)
	case id == nil && key != nil, id != nil && !public(*id).Equal(asKey(key)):
		r.t.Errorf("%s is %x's", domain, key)
	}
}

// A domain is the device's that DNS names, and until then its device is told to ask
// again, which records to set, and why.
func TestDomainIsWhoseDNSNames(t *testing.T) {
	r, d, _ := newDomainRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	denied(t, r.claim(a, app, ""), names.DeniedUnproven)
	d.name(app, b)
	denied(t, r.claim(a, app, ""), names.DeniedUnproven)
	d.fail(app)
	err := r.claim(a, app, "")
	denied(t, err, names.DeniedUnproven)
	var de *names.Denied
	if !errors.As(err, &de) || de.Retry <= 0 || !strings.Contains(de.Text, "SERVFAIL") || !slices.Equal(de.Hints, []string{
		"set this record: _keystay.app.example.test TXT keystay=" + strings.TrimSuffix(a.label(), "."+zone),
		"or this one: app.example.test CNAME " + a.label(), "see what is there: remote dns app.example.test --relay relay.test"}) {
		t.Errorf("told: %+v", de)
	}
	r.holds(nil, app)
	d.name(app, a)
	r.allowed(a, app, "")
	g, err := r.names.Show(app)
	if err != nil || g.Proof == nil || g.Proof.Via != "txt" || g.Proof.Checked.IsZero() {
		t.Errorf("%+v, %v", g, err)
	}
	if known, _, err := r.names.Look(app); !known || err != nil {
		t.Errorf("its visitors do not wait: %v", err)
	}
	denied(t, r.claim(b, app, ""), names.DeniedUnproven)
}

// DNS is asked again when a claim is renewed after an hour, not before.
func TestDomainIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, _ := newDomainRig(t, nil)
		defer r.grants().Close()
		a := newIdentity(t)
		d.name(app, a)
		r.allowed(a, app, "")
		time.Sleep(59 * time.Minute)
		r.allowed(a, app, "")
		if n := d.questions(app); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(2 * time.Minute)
		r.allowed(a, app, "")
		if n := d.questions(app); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The policy says who may use the relay with a domain of their own, and then costs
// DNS no question. Words that are reserved below the zone are domains of others.
func TestPolicyDecidesWhoMayHaveDomains(t *testing.T) {
	good := names.Token{Secret: "good", Names: []string{"only.relay.test"}}
	for p, want := range map[names.Policy]map[string]names.Code{
		names.Open:      {"": 0, "good": 0, "bad": 0},
		names.WithToken: {"": names.DeniedToken, "good": 0, "bad": names.DeniedToken},
		names.Closed:    {"": names.DeniedClosed, "good": names.DeniedClosed},
	} {
		for token, code := range want {
			for _, domain := range []string{app, "app.example.info", "app.example.ca", "admin.example.test", "example.help", "relay.example", "rellay.test"} {
				r, d, _ := newDomainRig(t, policy(p, good))
				a := newIdentity(t)
				d.name(domain, a)
				if code == 0 {
					r.allowed(a, domain, token)
					continue
				}
				denied(t, r.claim(a, domain, token), code)
				if n := d.questions(domain); n > 0 {
					t.Errorf("%s with %q: DNS was asked for %s", p, token, domain)
				}
			}
		}
	}
	r, d, _ := newDomainRig(t, func(n *names.Names) { n.NoDomains = true })
	a := newIdentity(t)
	d.name(app, a)
	denied(t, r.claim(a, app, ""), names.DeniedInvalid)
	r.names.SetRules(names.Rules{})
	r.allowed(a, app, "")
	r.names.SetRules(names.Rules{NoDomains: true})
	denied(t, r.claim(a, app, ""), names.DeniedInvalid)
}

// Domains count among the names of a device, and the outside decision is asked.
func TestDomainsCountAsNames(t *testing.T) {
	var asked []string
	r, d, _ := newDomainRig(t, func(n *names.Names) {
		n.NamesPerIdentity = 2
		n.Ask = func(_ context.Context, c names.Claimant) error {
			if asked = append(asked, c.Name); c.Name == "no.example.test" {
				return &names.Denied{Code: names.DeniedClosed, Text: "no"}
			}
			return nil
		}
	})
	a := newIdentity(t)
	for _, domain := range []string{"no.example.test", "one.example.test", "two.example.test", "three.example.test"} {
		d.name(domain, a)
	}
	denied(t, r.claim(a, "no.example.test", ""), names.DeniedClosed)
	r.allowed(a, "one.example.test", "")
	r.allowed(a, "two.example.test", "")
	denied(t, r.claim(a, "three.example.test", ""), names.DeniedLimit)
	denied(t, r.claim(a, "a.relay.test", ""), names.DeniedLimit)
	if want := []string{"no.example.test", "one.example.test", "two.example.test"}; !slices.Equal(asked, want) {
		t.Errorf("asked: %q", asked)
	}
}

// A domain moves at once to the device that DNS names alone, and the one that had it
// is told. With both named the one that has it keeps it.
func TestDomainMovesToAnotherDevice(t *testing.T) {
	for name, lapse := range map[string]func(*rig, identity){
		"held":     func(*rig, identity) {},
		"released": func(r *rig, a identity) { r.names.Release(app, public(a)) },
		"expired":  func(r *rig, a identity) { r.grants().Backdate(app, names.GrantTime+time.Hour) },
		"taken":    func(r *rig, a identity) { r.names.Take(app, "", false) },
	} {
		t.Run(name, func(t *testing.T) {
			r, d, lost := newDomainRig(t, nil)
			a, b := newIdentity(t), newIdentity(t)
			d.name(app, a)
			r.allowed(a, app, "")
			lapse(r, a)
			*lost = nil
			if name == "held" {
				d.name(app, a, b)
				denied(t, r.claim(b, app, ""), names.DeniedUnproven)
				r.allowed(a, app, "")
			}
			d.name(app, b)
			r.allowed(b, app, "")
			r.holds(&b, app)
			want := []string{fmt.Sprintf("%s %d DNS names another device for it now", keyname.Label(public(a), ""), names.DeniedUnproven)}
			if name != "held" {
				want = nil
			}
			if !slices.Equal(*lost, want) {
				t.Errorf("told: %q", *lost)
			}
			denied(t, r.claim(a, app, ""), names.DeniedUnproven)
		})
	}
}

// What DNS has said before somebody else got the domain gives it to nobody.
func TestOlderEvidenceCountsNoMore(t *testing.T) {
	r, d, _ := newDomainRig(t, nil)
	a, b, c := newIdentity(t), newIdentity(t), newIdentity(t)
	d.name(app, c)
	r.allowed(c, app, "")
	d.name(app, a)
	met := false
	d.meet = func(string) { // after a's answer was made, b gets it
		if met {
			return
		}
		met = true
		d.name(app, b)
		r.allowed(b, app, "")
	}
	denied(t, r.claim(a, app, ""), names.DeniedUnproven)
	r.holds(&b, app)
}

// A domain is lost when DNS has not named its device for three days, or was silent
// for two weeks, with the reason told. One failure more or less changes nothing.
func TestDomainIsLostAfterDaysOfFailure(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		days string // what DNS does on each day: named, none, other or silent
		lost bool
	}{
		"named":                       {"named named named named named named", false},
		"none for two days":           {"none none none named none none none named", false},
		"none for three days":         {"none none none none", true},
		"others for three days":       {"other other none other", true},
		"a few are missing":           {"none - - none", true},
		"silent for 13 days":          {strings.Repeat("silent ", 14) + "named", false},
		"silent for 14 days":          {strings.Repeat("silent ", 15), true},
		"silent, then none once":      {"silent silent silent silent silent none", false},
		"none in between":             {strings.Repeat("silent ", 10) + "none " + strings.Repeat("silent ", 10) + "named", false},
		"silent in between":           {"none silent none none", true},
		"silent does not lose sooner": {"none none silent silent silent silent named", false},
	} {
		for _, how := range []string{"claims", "stays connected"} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, d, lost := newDomainRig(t, nil)
					defer r.grants().Close()
					a, b := newIdentity(t), newIdentity(t)
					d.name(app, a)
					r.allowed(a, app, "")
					if how == "stays connected" {
						ctx, cancel := context.WithCancel(t.Context())
						defer func() { cancel(); synctest.Wait() }()
						go r.names.Recheck(ctx, func() []names.Holding {
							return []names.Holding{{Name: app, Key: public(a)}, {Name: "x.relay.test", Key: public(a)}}
						}, slog.New(slog.DiscardHandler))
					}
					time.Sleep(day)
					var last error
					for _, does := range strings.Fields(c.days) {
						switch does {
						case "named":
							d.name(app, a)
						case "none":
							d.name(app)
						case "other":
							d.name(app, b)
						case "silent":
							d.fail(app)
						}
						if how == "claims" && does != "-" && last == nil {
							last = r.claim(a, app, "")
						}
						time.Sleep(day)
					}
					if how == "stays connected" && strings.HasPrefix(c.days, "none - -") {
						return // it is asked every hour anyway
					}
					if !c.lost {
						r.holds(&a, app)
						if len(*lost) > 0 || last != nil {
							t.Errorf("told: %q, %v", *lost, last)
						}
						return
					}
					r.holds(nil, app)
					if len(*lost) != 1 || !strings.Contains((*lost)[0], " 8 since 2") {
						t.Errorf("told: %q", *lost)
					}
					if how == "claims" {
						denied(t, last, names.DeniedUnproven)
					}
				})
			})
		}
	}
}

// Those who stay connected are asked for once a day, not all at once, a few at a time,
// and only their domains.
func TestConnectedDomainsAreCheckedOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, _ := newDomainRig(t, func(n *names.Names) { n.NamesPerIdentity = 100 })
		defer r.grants().Close()
		a, other := newIdentity(t), newIdentity(t)
		var list []names.Holding
		for i := range 60 {
			domain := fmt.Sprintf("d%d.example.test", i)
			d.name(domain, a)
			r.allowed(a, domain, "")
			list = append(list, names.Holding{Name: domain, Key: public(a)})
		}
		r.allowed(a, "a.relay.test", "")
		list = append(list, names.Holding{Name: "a.relay.test", Key: public(a)}, names.Holding{Name: "d0.example.test", Key: public(other)})
		var mu sync.Mutex
		var at, most, now int
		var when []time.Time
		d.mu.Lock()
		clear(d.asked)
		d.meet = func(string) {
			mu.Lock()
			now++
			most = max(most, now)
			when = append(when, time.Now())
			at++
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
		}
		d.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		go r.names.Recheck(ctx, func() []names.Holding { return list }, slog.New(slog.DiscardHandler))
		time.Sleep(25 * time.Hour)
		mu.Lock()
		first, last := when[0], when[len(when)-1]
		if at != 60 || most > 4 {
			t.Errorf("%d questions, %d at once", at, most)
		}
		mu.Unlock()
		if span := last.Sub(first); span < 2*time.Hour || span > 5*time.Hour {
			t.Errorf("spread over %v", span)
		}
		for domain, n := range d.asked {
			if n != 1 || !strings.HasSuffix(domain, ".example.test") {
				t.Errorf("%s: asked %d times", domain, n)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// A check that is under way when its domain changes hands changes nothing.
func TestCheckOfADomainThatHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, lost := newDomainRig(t, nil)
		defer r.grants().Close()
		a, b := newIdentity(t), newIdentity(t)
		d.name(app, a)
		r.allowed(a, app, "")
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		once := false
		d.meet = func(string) {
			if !once {
				once = true
				d.name(app, b)
				r.allowed(b, app, "")
			}
		}
		go r.names.Recheck(ctx, func() []names.Holding { return []names.Holding{{Name: app, Key: public(a)}} }, slog.New(slog.DiscardHandler))
		time.Sleep(30 * time.Hour)
		r.holds(&b, app)
		if len(*lost) != 1 {
			t.Errorf("told: %q", *lost)
		}
	})
}

// Nobody gets the relay's own name, nor one above it, though DNS names them.
func TestNamesAboveTheRelaysAreNobodys(t *testing.T) {
	d := newDNS()
	n := &names.Names{Grants: openGrants(t, t.TempDir()), Prove: d.prove}
	n.Begin("tunnel.relay.test")
	a := newIdentity(t)
	for _, name := range []string{"tunnel.relay.test", "relay.test", "test"} {
		d.name(name, a)
		_, err := n.Claim(t.Context(), names.Claimant{Name: name, Key: public(a)})
		denied(t, err, names.DeniedInvalid)
	}
	d.name("other.relay.test", a) // beside it
	if _, err := n.Claim(t.Context(), names.Claimant{Name: "other.relay.test", Key: public(a)}); err != nil {
		t.Error(err)
	}
}
