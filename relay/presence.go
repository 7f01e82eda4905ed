package relay

import (
	"cmp"
	"crypto/ed25519"
	"maps"
	"slices"
	"sync"
	"time"

	"keystay/framing"
	"keystay/relay/names"
)

// A presence knows where the remote of each name is connected now. It is
// memory alone; whose a name is, names.Names knows.
type presence struct {
	mu       sync.RWMutex
	names    map[string]*served
	sessions map[*session]struct{}
	of       map[string][]*session    // those of either, by the key that they prove
	retired  map[string]struct{}      // keys among these that have handed over
	lost     map[*session]struct{}    // those whose link is lost; they may have streams on lanes
	awaited  map[string]chan struct{} // closed when the name comes up
	changed  func(name string)        // see Server.OnPresence; nil for none
}

// A served name has the sessions of one run, or of several that are replicas of
// each other.
type served struct {
	key      ed25519.PublicKey
	replica  bool
	sessions []*session    // never changed in place: find reads it unlocked
	rules    framing.Rules // of the newest claim
	ruled    *identity     // has the memory of rules
	replaced []framing.Run // runs with this key that have lost the name to a newer one, the last maxReplaced
	turn     turn          // to order a certificate
}

// A turn is a run's turn to order a certificate: the CA's connections go to it.
type turn struct {
	run   framing.Run
	until time.Time
}

// join counts a session, so that links finds it.
func (p *presence) join(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions == nil {
		p.sessions, p.of = make(map[*session]struct{}), make(map[string][]*session)
	}
	p.sessions[s] = struct{}{}
	p.of[string(s.key)] = append(p.of[string(s.key)], s)
}

// leave takes a session and its names away.
func (p *presence) leave(s *session) {
	p.withdraw(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
	delete(p.lost, s)
	left := slices.DeleteFunc(p.of[string(s.key)], func(o *session) bool { return o == s })
	if len(left) > 0 {
		p.of[string(s.key)] = left
	} else {
		delete(p.of, string(s.key))
		delete(p.retired, string(s.key))
	}
}

// outlive notes a session whose link is lost and that still has streams, on lanes,
// so that outdated and Cut find it.
func (p *presence) outlive(s *session) {
	defer p.withdraw(s) // afterwards, so that claim finds it here or there
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
	if p.lost == nil {
		p.lost = make(map[*session]struct{})
	}
	p.lost[s] = struct{}{}
}

// serving returns the identities of the sessions that have a name of an identity: its own,
// and those that have handed over to it.
func (p *presence) serving(name string, of ed25519.PublicKey) []ed25519.PublicKey {
	p.mu.RLock()
	defer p.mu.RUnlock()
	keys := []ed25519.PublicKey{of}
	if h := p.names[name]; h != nil && h.key.Equal(of) {
		for _, s := range h.sessions {
			if !slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(s.key) }) {
				keys = append(keys, s.key)
			}
		}
	}
	return keys
}

// holdings returns which identity is connected for which name.
func (p *presence) holdings() []names.Holding {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]names.Holding, 0, len(p.names))
	for name, h := range p.names {
		all = append(all, names.Holding{Name: name, Key: h.key})
	}
	return all
}

// withdraw takes all names of s away, as when it drains or is lost.
func (p *presence) withdraw(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range s.names {
		p.withdrawLocked(s, name)
	}
}

func (p *presence) withdrawLocked(s *session, name string) {
	h := p.names[name]
	if h == nil {
		return
	}
	i := slices.Index(h.sessions, s)
	if i < 0 {
		return
	}
	h.sessions = slices.Delete(slices.Clone(h.sessions), i, i+1)
	s.partLocked()
	if len(h.sessions) == 0 {
		p.removeLocked(name)
	}
	if !h.hasRun(s.run) {
		p.tell(name)
	}
}

// removeLocked forgets a name that nobody serves any more.
func (p *presence) removeLocked(name string) {
	p.names[name].setRules(framing.Rules{}, nil)
	delete(p.names, name)
}

// meetLocked counts a name that leads to a session from now on: it may stay.
func (sess *session) meetLocked() {
	sess.leads++
	if sess.unclaimed != nil {
		sess.unclaimed.Stop()
	}
}

// partLocked counts a name that leads to a session no more, however that came: without
// one it may stay for claimTimeout, and for as long as it has visitors.
func (sess *session) partLocked() {
	sess.leads--
	if sess.leads == 0 && sess.unclaimed != nil && sess.link.Err() == nil {
		sess.unclaimed.Reset(claimTimeout)
	}
}

// isIdle reports whether no name leads to s.
func (p *presence) isIdle(s *session) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return s.leads == 0
}

// setRules gives a name other rules, whose memory an identity has taken, and that of the
// last ones back.
func (h *served) setRules(r framing.Rules, by *identity) {
	h.ruled.putRules(h.rules)
	h.rules, h.ruled = r, by
}

// find returns the session for a new visitor of name, or for a CA's validation
// of it: of the run with the fewest streams, or of the one whose turn it is to
// order, the link with the fewest. A link that has been quiet for too long
// comes last: it may be dead. It returns nil when there is none, else the name's
// rules too.
func (p *presence) find(name string, validation bool) (*session, framing.Rules) {
	p.mu.RLock()
	h := p.names[name]
	if h == nil {
		p.mu.RUnlock()
		return nil, framing.Rules{}
	}
	sessions, turn, rules := h.sessions, h.turn, h.rules
	p.mu.RUnlock()
	if len(sessions) == 1 {
		return sessions[0], rules
	}
	if validation && time.Now().Before(turn.until) {
		own := slices.DeleteFunc(slices.Clone(sessions), func(s *session) bool { return s.run != turn.run })
		if len(own) > 0 {
			sessions = own
		}
	}
	load := make(map[framing.Run]int, 2)
	for _, s := range sessions {
		load[s.run] += s.link.NumStreams()
	}
	return slices.MinFunc(sessions, func(a, b *session) int {
		return cmp.Or(
			cmp.Compare(oneIf(a.link.Quiet() > suspectAfter), oneIf(b.link.Quiet() > suspectAfter)),
			cmp.Compare(load[a.run], load[b.run]),
			cmp.Compare(a.link.NumStreams(), b.link.NumStreams()))
	}), rules
}

// suspectAfter is how long a link may be quiet before new visitors go to
// another one: a PING that is due has not come.
const suspectAfter = framing.PingInterval + 1500*time.Millisecond

// order begins or ends the turn of s's run to order a certificate for name, and
// reports whether it is its turn.
func (p *presence) order(s *session, name string, begins bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.names[name]
	if h == nil || !h.mayOrder(s) {
		return false
	}
	now := time.Now()
	other := now.Before(h.turn.until) && h.turn.run != s.run &&
		slices.ContainsFunc(h.sessions, func(o *session) bool { return o.run == h.turn.run })
	switch {
	case other:
		return false
	case begins:
		h.turn = turn{run: s.run, until: now.Add(framing.OrderTime)}
	default:
		h.turn = turn{}
	}
	return true
}

// mayOrder reports whether the run of s, which has the name, may have a turn. That of an
// identity which has handed over has none, but where it has come with the heir's key, too.
func (h *served) mayOrder(s *session) bool {
	return slices.Contains(h.sessions, s) && (s.key.Equal(h.key) ||
		slices.ContainsFunc(h.sessions, func(o *session) bool { return o.run == s.run && o.key.Equal(h.key) }))
}

// mayOrder is that of a name.
func (p *presence) mayOrder(s *session, name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := p.names[name]
	return h != nil && h.mayOrder(s)
}

// links returns all sessions.
func (p *presence) links() []*session {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]*session, 0, len(p.sessions))
	for s := range p.sessions {
		all = append(all, s)
	}
	return all
}

// count returns how many sessions and names are up.
func (p *presence) count() (sessions, names int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.sessions), len(p.names)
}

// arrival returns a channel that is closed when name comes up.
func (p *presence) arrival(name string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.awaited[name]
	if c == nil {
		c = make(chan struct{})
		if p.awaited == nil {
			p.awaited = make(map[string]chan struct{})
		}
		p.awaited[name] = c
	}
	return c
}

// isReplica reports whether what is connected for a name are replicas.
func (p *presence) isReplica(name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := p.names[name]
	return h != nil && h.replica
}

// forgetArrival drops the channel of a name for which nobody waits any more.
func (p *presence) forgetArrival(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.awaited, name)
}

// serves reports whether a name is up.
func (p *presence) serves(name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.names[name] != nil
}

// isHere reports whether a name is up, for a visitor or a CA's validation of it, on a link
// that is not suspected to be dead.
func (p *presence) isHere(name string, validation bool) bool {
	s, _ := p.find(name, validation)
	return s != nil && s.link.Quiet() <= suspectAfter
}

// served returns the names that are up.
func (p *presence) served() []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(p.names))
}
