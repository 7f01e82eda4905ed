package trial

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// Times are those of the policy, which a trial has to know.
type Times struct{ ProofAge, LostAfter, SilentAfter, SeenStep time.Duration }

// A Setup is what a trial is made of.
type Setup struct {
	// Nodes are policies above stores that have one record: one, or several of a
	// shared one. They have begun, with Zone.
	Nodes []*names.Names
	Sleep func(time.Duration) // lets the record's time go on by so much, and no other
	Sync  func()              // waits until each node knows what all have done; may be nil

	// Check asks DNS again for a domain that an identity may have; nil leaves that out.
	Check func(context.Context, *names.Names, names.Holding) error

	Times Times
}

// Zone is the zone of a trial.
const Zone = "relay.test"

// A Trial is the policy with devices, beside its model.
type Trial struct {
	t      testing.TB
	setup  Setup
	dns    *dns
	ids    []ed25519.PublicKey
	record string // the secret of the record's token
	rnd    *rand.Rand
	model  *model
}

// The names of a trial. Those with key are the names made from the devices' keys.
var trialNames = []string{"a." + Zone, "b.a." + Zone, "c.b.a." + Zone, "x.team." + Zone, "y.x.team." + Zone, "team." + Zone, "z.open." + Zone, "open." + Zone,
	"exact.taken." + Zone, "below.exact.taken." + Zone, "app.example.test", "sub.app.example.test", "other.test", "key0", "key1"}

const devices = 3

// A dns says whose domains are.
type dns struct {
	mu    sync.Mutex
	says  map[string]names.Evidence
	fails map[string]bool
}

func (d *dns) prove(_ context.Context, c names.Claimant) (names.Evidence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails[c.Name] {
		return nil, errors.New("SERVFAIL")
	}
	return d.says[c.Name], nil
}

func (d *dns) set(domain string, fails bool, ids ...ed25519.PublicKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[domain], d.says[domain] = fails, nil
	for _, id := range ids {
		d.says[domain] = append(d.says[domain], names.Mention{Label: keyname.Label(id, ""), Via: "txt"})
	}
}

// New begins a trial with an empty record. It sets what the nodes ask of DNS, and their
// rules.
func New(t testing.TB, seed uint64, s Setup) *Trial {
	r := &Trial{t: t, setup: s, rnd: rand.New(rand.NewPCG(seed, 1)), dns: &dns{says: make(map[string]names.Evidence), fails: make(map[string]bool)}}
	for range devices {
		key, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.ids = append(r.ids, key)
	}
	rules := names.Rules{Policy: names.Open, NamesPerIdentity: 4, ExpireUnused: 40 * 24 * time.Hour,
		Tokens: []names.Token{{Secret: teamToken, Names: []string{"*.team." + Zone}}, {Secret: exactToken, Names: []string{"exact.taken." + Zone}}}}
	for _, n := range s.Nodes {
		n.Prove = r.dns.prove
		n.SetRules(rules)
	}
	secret, _, err := s.Nodes[0].CreateToken(names.TokenInfo{Names: []string{"*.open." + Zone}, Uses: recordUses})
	if err != nil {
		t.Fatal(err)
	}
	r.record = secret
	r.model = &model{rules: rules, times: s.Times, grants: make(map[string]modelGrant), bans: make(map[string]bool), reserved: make(map[string]bool), dns: make(map[string]modelDNS)}
	return r
}

// change lets time pass, and DNS and the policy change: nothing is under way.
func (r *Trial) change() {
	waits := []time.Duration{0, 0, time.Minute, 2 * time.Hour, 25 * time.Hour, 2 * 24 * time.Hour, 4 * 24 * time.Hour, 41 * 24 * time.Hour, 91 * 24 * time.Hour}
	r.setup.Sleep(waits[r.rnd.IntN(len(waits))])
	for _, domain := range []string{"app.example.test", "sub.app.example.test", "other.test"} {
		if r.rnd.IntN(3) > 0 {
			continue
		}
		d := modelDNS{silent: r.rnd.IntN(4) == 0}
		var who []ed25519.PublicKey
		for i, id := range r.ids {
			if r.rnd.IntN(2) == 0 {
				d.ids += strconv.Itoa(i)
				who = append(who, id)
			}
		}
		r.dns.set(domain, d.silent, who...)
		r.model.dns[domain] = d
	}
	if r.rnd.IntN(6) == 0 {
		rules := r.setup.Nodes[0].InForce()
		rules.Policy = []names.Policy{names.Open, names.Open, names.WithToken, names.Closed}[r.rnd.IntN(4)]
		for _, n := range r.setup.Nodes {
			n.SetRules(rules)
		}
		r.model.rules = rules
	}
	if err := r.setup.Nodes[0].Grants.View(func(tx names.Tx) error { r.model.now = tx.Now(); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// think returns what somebody does next. What the operator bans and reserves is in force
// on other nodes a moment later: where there are any it is done between steps.
func (r *Trial) think() op {
	o := op{name: trialNames[r.rnd.IntN(len(trialNames))], id: r.rnd.IntN(devices)}
	switch n := r.rnd.IntN(20); {
	case n < 11 || n >= 16 && len(r.setup.Nodes) > 1:
		o.what, o.token = "claim", []string{"", "", "wrong", teamToken, exactToken, recordToken}[r.rnd.IntN(6)]
	case n < 13:
		o.what = "release"
	case n < 14:
		o.what = []string{"take", "free"}[r.rnd.IntN(2)]
	case n < 16:
		o.what = "check"
	default:
		return r.forbid()
	}
	if strings.HasPrefix(o.name, "key") && o.what != "claim" {
		o.name = trialNames[0]
	}
	return o
}

// forbid returns a ban or a pattern that the operator reserves, or lifts.
func (r *Trial) forbid() op {
	o := op{name: trialNames[r.rnd.IntN(len(trialNames)-2)], id: r.rnd.IntN(devices)}
	if r.rnd.IntN(4) == 0 {
		o.what, o.name = []string{"reserve", "unreserve"}[r.rnd.IntN(2)], []string{"a", "open"}[r.rnd.IntN(2)]
		return o
	}
	if o.what = []string{"ban", "unban", "unban"}[r.rnd.IntN(3)]; r.rnd.IntN(2) == 0 {
		o.name = strconv.Itoa(o.id)
	}
	return o
}

// do does an op on a node and notes the answer.
func (r *Trial) do(n *names.Names, o *op) {
	id := r.ids[o.id]
	var err error
	switch o.what {
	case "claim":
		c := names.Claimant{Name: o.name, Key: id, Token: o.token}
		if i, made := strings.CutPrefix(o.name, "key"); made {
			k, _ := strconv.Atoi(i)
			c.Name = keyname.Label(r.ids[k], "") + "." + Zone
		}
		if o.token == recordToken {
			c.Token = r.record
		}
		_, err = n.Claim(context.Background(), c)
	case "check":
		if r.setup.Check != nil && !strings.HasSuffix(o.name, "."+Zone) {
			err = r.setup.Check(context.Background(), n, names.Holding{Name: o.name, Key: id})
		}
	case "release":
		err = n.Release(o.name, id)
	case "take", "free":
		_, err = n.Take(o.name, "", o.what == "free")
	case "ban", "unban":
		b := names.Ban{Kind: names.BanName, Of: o.name}
		if k, e := strconv.Atoi(o.name); e == nil {
			b = names.Ban{Kind: names.BanIdentity, Of: keyname.Label(r.ids[k], "")}
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
func (r *Trial) state() string {
	list, _, more, err := r.setup.Nodes[0].List(names.Filter{}, "", 100)
	if err != nil || more {
		r.t.Fatal(err)
	}
	index := func(label string) int {
		return slices.IndexFunc(r.ids, func(id ed25519.PublicKey) bool { return keyname.Label(id, "") == label })
	}
	tokens, err := r.setup.Nodes[0].ListTokens()
	if err != nil {
		r.t.Fatal(err)
	}
	lines := []string{fmt.Sprintf("~ token %d", tokens[0].Used)}
	for _, kind := range []names.BanKind{names.BanName, names.BanIdentity} {
		bans, err := r.setup.Nodes[0].Bans(kind)
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
	reserved, err := r.setup.Nodes[0].Reservations()
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

// Step lets several act at once, and finds an order of what they did in which the
// model gives the same answers and ends in the same state.
func (r *Trial) Step() bool {
	r.t.Helper()
	if n := len(r.setup.Nodes); n > 1 {
		o := r.forbid()
		r.do(r.setup.Nodes[r.rnd.IntN(n)], &o)
		if !r.model.apply(o) {
			r.t.Errorf("%v is not the answer", o)
		}
	}
	r.sync()
	r.change()
	actors := make([][]op, 3)
	for i := range actors {
		for range 1 + r.rnd.IntN(3) {
			actors[i] = append(actors[i], r.think())
		}
	}
	var wg sync.WaitGroup
	for k, ops := range actors {
		wg.Go(func() {
			for i := range ops {
				r.do(r.setup.Nodes[k%len(r.setup.Nodes)], &ops[i])
			}
		})
	}
	wg.Wait()
	r.sync()
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

// sync waits until each node knows what all have done.
func (r *Trial) sync() {
	if r.setup.Sync != nil {
		r.setup.Sync()
	}
}
