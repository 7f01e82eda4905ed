package trial

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

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
	times    Times
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
	custom := !strings.HasSuffix(name, "."+Zone)
	admits := token == teamToken && (custom || strings.HasSuffix(name, ".team."+Zone)) ||
		token == exactToken && (custom || name == "exact.taken."+Zone) ||
		token == recordToken && m.used < recordUses && (custom || strings.HasSuffix(name, ".open."+Zone))
	exactly := token == exactToken && name == "exact.taken."+Zone
	switch {
	case m.rules.Policy == names.Closed:
		return names.DeniedClosed
	case m.rules.Policy == names.WithToken && !admits:
		return names.DeniedToken
	}
	labels := strings.Split(strings.TrimSuffix(name, "."+Zone), ".")
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
	if !strings.HasSuffix(name, "."+Zone) {
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
		if below && m.live(is) && is.id != id && !(token == exactToken && name == "exact.taken."+Zone) {
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
	if token == recordToken && m.used < recordUses && (g.custom || strings.HasSuffix(name, ".open."+Zone)) {
		m.used++
	}
}

// seen notes that a name is in use, to a day.
func (m *model) seen(name string, g modelGrant) {
	if m.now.Sub(g.seen) >= m.times.SeenStep {
		g.seen = m.now
		m.grants[name] = g
	}
}

func (m *model) claimDomain(name, token string, id int, g modelGrant, there bool) names.Code {
	held := there && m.live(g)
	if held && g.id == id {
		if g.failing.IsZero() && g.silent.IsZero() && m.now.Sub(g.checked) < m.times.ProofAge {
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
	since, limit := &g.failing, m.times.LostAfter
	switch d := m.dns[name]; {
	case !d.silent && d.names(id):
		g.checked, g.failing, g.silent, since = m.now, time.Time{}, time.Time{}, nil
	case d.silent:
		since, limit = &g.silent, m.times.SilentAfter
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
		if o.got == names.DeniedUnavailable && !strings.HasSuffix(o.name, "."+Zone) {
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
