package names_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// A model is the policy in its simplest form: all of it in a few maps. What it does
// not know is how long things take, and the store.
type model struct {
	now      time.Time
	rules    names.Rules
	grants   map[string]modelGrant
	bans     map[string]bool // names, and identities by their number
	reserved map[string]bool // labels below the zone
	used     int             // how many names the token of the record has opened
	dns      map[string]modelDNS
}

type modelGrant struct {
	id                       int
	seen, until              time.Time
	checked, failing, silent time.Time // of a domain
	custom                   bool
}

// A modelDNS is what DNS says of a domain.
type modelDNS struct {
	silent bool
	ids    string // the numbers of the devices
}

func (d modelDNS) names(id int) bool { return strings.Contains(d.ids, strconv.Itoa(id)) }

// The tokens: of a file, for all names below team, and for one name; and of the
// record, which opens two names.
const (
	teamToken   = "of the team"
	exactToken  = "of one name"
	recordToken = "of the record"
	recordUses  = 2
)

func (m *model) copy() *model {
	c := *m
	c.grants, c.bans, c.reserved = maps.Clone(m.grants), maps.Clone(m.bans), maps.Clone(m.reserved)
	return &c
}

func (m *model) expire() time.Duration { return m.rules.ExpireUnused }
func (m *model) live(g modelGrant) bool {
	return g.id >= 0 && g.until.IsZero() && m.now.Sub(g.seen) <= m.expire()
}

func (m *model) keptUntil(g modelGrant) time.Time {
	if !g.until.IsZero() {
		return g.until
	}
	return g.seen.Add(m.expire() + names.GraceTime)
}

func (m *model) over(g modelGrant) bool { return !m.live(g) && !m.now.Before(m.keptUntil(g)) }

func (m *model) banned(name string, id int) bool {
	if m.bans[strconv.Itoa(id)] {
		return true
	}
	for at, ok := name, true; ok; _, at, ok = strings.Cut(at, ".") {
		if m.bans[at] {
			return true
		}
	}
	return false
}

// admit is what the policy says of a new name: 0 or a code.
func (m *model) admit(name, token string, id int) names.Code {
	custom := !strings.HasSuffix(name, "."+zone)
	admits := token == teamToken && (custom || strings.HasSuffix(name, ".team."+zone)) ||
		token == exactToken && (custom || name == "exact.taken."+zone) ||
		token == recordToken && m.used < recordUses && (custom || strings.HasSuffix(name, ".open."+zone))
	exactly := token == exactToken && name == "exact.taken."+zone
	switch {
	case m.rules.Policy == names.Closed:
		return names.DeniedClosed
	case m.rules.Policy == names.WithToken && !admits:
		return names.DeniedToken
	}
	labels := strings.Split(strings.TrimSuffix(name, "."+zone), ".")
	if !custom && m.reserved[labels[len(labels)-1]] && !exactly {
		return names.DeniedToken
	}
	held := 0
	for n, g := range m.grants {
		if g.id == id && !m.over(g) && !(n == name && !m.live(g)) {
			held++
		}
	}
	if held >= m.rules.NamesPerIdentity {
		return names.DeniedLimit
	}
	return 0
}

// claim returns 0 or the code of the denial.
func (m *model) claim(name, token string, id int) names.Code {
	if owner, made := strings.CutPrefix(name, "key"); made { // of a device
		switch {
		case owner != strconv.Itoa(id):
			return names.DeniedTaken
		case m.banned("", id):
			return names.DeniedBanned
		}
		return 0
	}
	if m.banned(name, id) {
		return names.DeniedBanned
	}
	g, there := m.grants[name]
	if !strings.HasSuffix(name, "."+zone) {
		return m.claimDomain(name, token, id, g, there)
	}
	if there && m.live(g) && g.id == id {
		m.seen(name, g)
		return 0
	}
	for at, is := range m.grants {
		above := strings.HasSuffix(name, "."+at)
		if is.id != id && (m.live(is) && (at == name || above) || at == name && !m.over(is)) {
			return names.DeniedTaken
		}
	}
	for at, is := range m.grants {
		below := strings.HasSuffix(at, "."+name)
		if below && m.live(is) && is.id != id && !(token == exactToken && name == "exact.taken."+zone) {
			return names.DeniedTaken
		}
	}
	if code := m.admit(name, token, id); code != 0 {
		return code
	}
	m.put(name, token, modelGrant{id: id, seen: m.now})
	return 0
}

func (m *model) put(name, token string, g modelGrant) {
	m.grants[name] = g
	if token == recordToken && m.used < recordUses && (g.custom || strings.HasSuffix(name, ".open."+zone)) {
		m.used++
	}
}

// seen notes that a name is in use, to a day.
func (m *model) seen(name string, g modelGrant) {
	if m.now.Sub(g.seen) >= names.SeenStep {
		g.seen = m.now
		m.grants[name] = g
	}
}

func (m *model) claimDomain(name, token string, id int, g modelGrant, there bool) names.Code {
	held := there && m.live(g)
	if held && g.id == id {
		if g.failing.IsZero() && g.silent.IsZero() && m.now.Sub(g.checked) < names.ProofAge {
			m.seen(name, g)
			return 0
		}
		return m.check(name, id)
	}
	if code := m.admit(name, token, id); code != 0 {
		return code
	}
	d := m.dns[name]
	if d.silent || !d.names(id) || held && d.names(g.id) {
		return names.DeniedUnproven
	}
	m.put(name, token, modelGrant{id: id, seen: m.now, checked: m.now, custom: true})
	return 0
}

// check asks DNS again for a domain.
func (m *model) check(name string, id int) names.Code {
	g := m.grants[name]
	if g.id != id || !m.live(g) || !g.custom {
		return 0
	}
	since, limit := &g.failing, names.LostAfter
	switch d := m.dns[name]; {
	case !d.silent && d.names(id):
		g.checked, g.failing, g.silent, since = m.now, time.Time{}, time.Time{}, nil
	case d.silent:
		since, limit = &g.silent, names.SilentAfter
	default:
		g.silent = time.Time{}
	}
	if since != nil && since.IsZero() {
		*since = m.now
	}
	if since != nil && m.now.Sub(*since) >= limit {
		delete(m.grants, name)
		return names.DeniedUnproven
	}
	g.seen = m.now
	m.grants[name] = g
	return 0
}

// state is what can be seen of it.
func (m *model) state() string {
	list := []string{fmt.Sprintf("~ token %d", m.used)}
	for b := range m.bans {
		list = append(list, "~ ban "+b)
	}
	for p := range m.reserved {
		list = append(list, "~ reserved "+p)
	}
	for name, g := range m.grants {
		if m.over(g) {
			continue
		}
		status, until := names.Held, g.seen.Add(m.expire())
		if !m.live(g) {
			status, until = names.Lapsed, m.keptUntil(g)
		}
		list = append(list, fmt.Sprintf("%s %d %s %s failing %s", name, g.id, status, until.UTC().Format(time.DateTime), cmp.Or(g.failing, g.silent).UTC().Format(time.DateTime)))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// An op is one thing that somebody does.
type op struct {
	what, name, token string
	id                int
	got               names.Code // what the policy has answered; -1 is another failure
}

func (o op) String() string {
	return fmt.Sprintf("%d: %s %s %q -> %d", o.id, o.what, o.name, o.token, o.got)
}

// noneOf is the answer of a lever that has nothing to move.
const noneOf names.Code = 100

// apply does the op in the model and reports whether the answer is right.
func (m *model) apply(o op) bool {
	var want names.Code
	g, there := m.grants[o.name]
	switch o.what {
	case "claim":
		if o.got == names.DeniedUnavailable && !strings.HasSuffix(o.name, "."+zone) {
			return true // it had changed hands while DNS was asked
		}
		want = m.claim(o.name, o.token, o.id)
	case "check":
		m.check(o.name, o.id)
	case "release":
		if want = names.DeniedTaken; there && m.live(g) && g.id == o.id {
			g.until, want = m.now.Add(names.GraceTime), 0
			m.grants[o.name] = g
		}
	case "take", "free":
		switch {
		case !there || m.over(g) || o.what == "take" && !m.live(g):
			want = noneOf
		case o.what == "free":
			delete(m.grants, o.name)
		default:
			g.until = m.now.Add(names.GraceTime)
			m.grants[o.name] = g
		}
	case "ban", "unban":
		if o.what == "unban" && !m.bans[o.name] {
			want = noneOf
		}
		if m.bans[o.name] = true; o.what == "unban" {
			delete(m.bans, o.name)
		}
	case "reserve", "unreserve":
		if o.what == "unreserve" && !m.reserved[o.name] {
			want = noneOf
		}
		if m.reserved[o.name] = true; o.what == "unreserve" {
			delete(m.reserved, o.name)
		}
	}
	return o.got == want
}

// A trial is the policy with devices, beside its model.
type trial struct {
	t      *testing.T
	rig    *rig
	dns    *fakeDNS
	ids    []identity
	record string // the secret of the record's token
	rnd    *rand.Rand
	model  *model
}

// The names of a trial. Those with key are the names made from the devices' keys.
var trialNames = []string{"a." + zone, "b.a." + zone, "c.b.a." + zone, "x.team." + zone, "y.x.team." + zone, "team." + zone, "z.open." + zone, "open." + zone,
	"exact.taken." + zone, "below.exact.taken." + zone, "app.example.test", "sub.app.example.test", "other.test", "key0", "key1"}

const devices = 3

func newTrial(t *testing.T, seed uint64) *trial {
	r := &trial{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	for range devices {
		r.ids = append(r.ids, newIdentity(t))
	}
	rules := names.Rules{Policy: names.Open, NamesPerIdentity: 4, ExpireUnused: 40 * 24 * time.Hour,
		Tokens: []names.Token{{Secret: teamToken, Names: []string{"*.team." + zone}}, {Secret: exactToken, Names: []string{"exact.taken." + zone}}}}
	r.rig, r.dns, _ = newDomainRig(t, func(n *names.Names) { n.Rules = rules })
	secret, _, err := r.rig.names.CreateToken(names.TokenInfo{Names: []string{"*.open." + zone}, Uses: recordUses})
	if err != nil {
		t.Fatal(err)
	}
	r.record = secret
	r.model = &model{rules: rules, grants: make(map[string]modelGrant), bans: make(map[string]bool), reserved: make(map[string]bool), dns: make(map[string]modelDNS)}
	return r
}

// change lets time pass, and DNS and the policy change: nothing is under way.
func (r *trial) change() {
	waits := []time.Duration{0, 0, time.Minute, 2 * time.Hour, 25 * time.Hour, 2 * 24 * time.Hour, 4 * 24 * time.Hour, 41 * 24 * time.Hour, 91 * 24 * time.Hour}
	time.Sleep(waits[r.rnd.IntN(len(waits))])
	for _, domain := range []string{"app.example.test", "sub.app.example.test", "other.test"} {
		if r.rnd.IntN(3) > 0 {
			continue
		}
		d := modelDNS{silent: r.rnd.IntN(4) == 0}
		var who []identity
		for i, id := range r.ids {
			if r.rnd.IntN(2) == 0 {
				d.ids += strconv.Itoa(i)
				who = append(who, id)
			}
		}
		r.dns.name(domain, who...)
		if d.silent {
			r.dns.fail(domain)
		}
		r.model.dns[domain] = d
	}
	if r.rnd.IntN(6) == 0 {
		rules := r.rig.names.InForce()
		rules.Policy = []names.Policy{names.Open, names.Open, names.WithToken, names.Closed}[r.rnd.IntN(4)]
		r.rig.names.SetRules(rules)
		r.model.rules = rules
	}
	if err := r.rig.grants().View(func(tx names.Tx) error { r.model.now = tx.Now(); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// think returns what somebody does next.
func (r *trial) think() op {
	o := op{name: trialNames[r.rnd.IntN(len(trialNames))], id: r.rnd.IntN(devices)}
	switch n := r.rnd.IntN(20); {
	case n < 11:
		o.what, o.token = "claim", []string{"", "", "wrong", teamToken, exactToken, recordToken}[r.rnd.IntN(6)]
	case n < 13:
		o.what = "release"
	case n < 14:
		o.what = []string{"take", "free"}[r.rnd.IntN(2)]
	case n < 16:
		o.what = "check"
	case n < 19:
		o.what = []string{"ban", "unban", "unban"}[r.rnd.IntN(3)]
		if r.rnd.IntN(2) == 0 {
			o.name = strconv.Itoa(o.id)
		}
	default:
		o.what, o.name = []string{"reserve", "unreserve"}[r.rnd.IntN(2)], []string{"a", "open"}[r.rnd.IntN(2)]
	}
	if strings.HasPrefix(o.name, "key") && o.what != "claim" {
		o.name = trialNames[0]
	}
	return o
}

// do does an op and notes the answer.
func (r *trial) do(o *op) {
	n, id := r.rig.names, r.ids[o.id]
	var err error
	switch o.what {
	case "claim":
		c := names.Claimant{Name: o.name, Key: public(id), Token: o.token}
		if i, made := strings.CutPrefix(o.name, "key"); made {
			k, _ := strconv.Atoi(i)
			c.Name = r.ids[k].label()
		}
		if o.token == recordToken {
			c.Token = r.record
		}
		_, err = n.Claim(context.Background(), c)
	case "check":
		err = n.CheckDomain(context.Background(), names.Holding{Name: o.name, Key: public(id)})
	case "release":
		err = n.Release(o.name, public(id))
	case "take", "free":
		_, err = n.Take(o.name, "", o.what == "free")
	case "ban", "unban":
		b := names.Ban{Kind: names.BanName, Of: o.name}
		if k, e := strconv.Atoi(o.name); e == nil {
			b = names.Ban{Kind: names.BanIdentity, Of: keyname.Label(public(r.ids[k]), "")}
		}
		if o.what == "ban" {
			_, err = n.Ban(b)
		} else {
			err = n.Unban(b.Kind, b.Of)
		}
	case "reserve":
		_, err = n.Reserve(o.name, "")
	case "unreserve":
		err = n.Unreserve(o.name)
	}
	var d *names.Denied
	switch {
	case errors.As(err, &d):
		o.got = d.Code
	case errors.Is(err, names.ErrNone):
		o.got = noneOf
	case err != nil:
		o.got = -1
	}
}

// state is what can be seen of the record.
func (r *trial) state() string {
	list, _, more, err := r.rig.names.List(names.Filter{}, "", 100)
	if err != nil || more {
		r.t.Fatal(err)
	}
	index := func(label string) int {
		return slices.IndexFunc(r.ids, func(id identity) bool { return keyname.Label(public(id), "") == label })
	}
	tokens, err := r.rig.names.ListTokens()
	if err != nil {
		r.t.Fatal(err)
	}
	lines := []string{fmt.Sprintf("~ token %d", tokens[0].Used)}
	for _, kind := range []names.BanKind{names.BanName, names.BanIdentity} {
		bans, err := r.rig.names.Bans(kind)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, b := range bans {
			if kind == names.BanIdentity {
				b.Of = strconv.Itoa(index(b.Of))
			}
			lines = append(lines, "~ ban "+b.Of)
		}
	}
	reserved, err := r.rig.names.Reservations()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range reserved {
		lines = append(lines, "~ reserved "+p.Pattern)
	}
	for _, g := range list {
		id := index(g.Identity)
		var failing time.Time
		if g.Proof != nil {
			failing = cmp.Or(g.Proof.Failing, g.Proof.Silent)
		}
		lines = append(lines, fmt.Sprintf("%s %d %s %s failing %s", g.Name, id, g.Status, g.Until.UTC().Format(time.DateTime), failing.UTC().Format(time.DateTime)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// step lets several act at once, and finds an order of what they did in which the
// model gives the same answers and ends in the same state.
func (r *trial) step() bool {
	r.change()
	actors := make([][]op, 3)
	for i := range actors {
		for range 1 + r.rnd.IntN(3) {
			actors[i] = append(actors[i], r.think())
		}
	}
	var wg sync.WaitGroup
	for _, ops := range actors {
		wg.Go(func() {
			for i := range ops {
				r.do(&ops[i])
			}
		})
	}
	wg.Wait()
	state := r.state()
	after := explain(r.model, actors, state)
	if after == nil {
		r.t.Errorf("no order explains\n%v\nfrom\n%s\n(%d used, %v, policy %s, DNS %v, banned %v, reserved %v)\nto\n%s", actors, r.model.state(), r.model.used, r.model.now, r.model.rules.Policy, r.model.dns, r.model.bans, r.model.reserved, state)
		return false
	}
	r.model = after
	return true
}

// explain returns the model after the ops of all actors, each in its order, in some
// order between them that gives their answers and the state; or nil.
func explain(m *model, actors [][]op, state string) *model {
	left := false
	for i, ops := range actors {
		if len(ops) == 0 {
			continue
		}
		left = true
		next := m.copy()
		if !next.apply(ops[0]) {
			continue
		}
		rest := slices.Clone(actors)
		rest[i] = ops[1:]
		if after := explain(next, rest, state); after != nil {
			return after
		}
	}
	if !left && m.state() == state {
		return m
	}
	return nil
}

// The policy and its model agree, whatever several do at once.
func TestPolicyAgreesWithItsModel(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("KEYSTAY_ROUNDS"))
	for seed := range uint64(4 * max(1, rounds)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTrial(t, seed)
				defer r.rig.grants().Close()
				for range 30 {
					if !r.step() {
						break
					}
				}
			})
		})
	}
}

// The checker sees it when the policy and its model differ.
func TestModelSeesDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTrial(t, 1)
		defer r.rig.grants().Close()
		r.change()
		given := op{what: "claim", name: "a." + zone, id: 0}
		r.do(&given)
		for name, o := range map[string][][]op{
			"an answer":       {{{what: "claim", name: "a." + zone, id: 0, got: names.DeniedTaken}}},
			"a second holder": {{given}, {{what: "claim", name: "a." + zone, id: 1}}},
			"the state":       {},
		} {
			if explain(r.model, o, r.state()) != nil {
				t.Errorf("%s is not seen", name)
			}
		}
		if explain(r.model, [][]op{{given}}, r.state()) == nil {
			t.Error("what has happened is not explained")
		}
	})
}
