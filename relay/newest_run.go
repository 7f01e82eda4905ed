package relay

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay/names"
)

// claim makes s serve a name. Sessions of one run stand side by side, and so do
// runs that are all replicas. Else a run of the same identity that has the name
// is replaced when s is of a newer one; when s is of an older one it is denied.
func (p *presence) claim(s *session, c framing.Claim) error {
	if !s.identity.takeRules(c.Rules) {
		s.srv.shares.outOfMemory()
		return &framing.Denial{Name: c.Name, Code: framing.DeniedUnavailable, Text: "this relay has no memory left for the rules of the name", Retry: time.Minute}
	}
	replaced, err := p.take(s, c)
	if err != nil {
		s.identity.putRules(c.Rules)
	}
	for _, old := range replaced {
		old.revoke(*replacedBy(c.Name, old.key.Equal(s.key)))
		old.link.CutLanesOf(c.Name)
	}
	if err == nil {
		for _, old := range p.outdated(Claimed{c.Name, s.key, s.run, c.Replica}, framing.Run.Replaces) {
			old.link.CutLanesOf(c.Name)
		}
	}
	return err
}

// holder returns the identity that is connected for a name, or nil.
func (p *presence) holder(name string) ed25519.PublicKey {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if h := p.names[name]; h != nil {
		return h.key
	}
	return nil
}

// forfeit takes a name away from the sessions of an identity, and returns them.
func (p *presence) forfeit(name string, key []byte) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.names[name]
	if h == nil || !bytes.Equal(h.key, key) {
		return nil
	}
	p.removeLocked(name)
	p.tell(name)
	for _, s := range h.sessions {
		s.loseLocked(name)
	}
	return h.sessions
}

// forfeitLed is forfeit also of an identity that has handed over to this one, and serves the
// name still: where others are in between it is in the name of one of these.
func forfeitLed(p *presence, n *names.Names, name string, key []byte) []*session {
	for has := p.holder(name); has != nil && (bytes.Equal(has, key) || leadsTo(n, has, key)); has = p.holder(name) {
		if lost := p.forfeit(name, has); lost != nil { // else it has passed to the next one meanwhile
			return lost
		}
	}
	return nil
}

// lose takes a name from whoever is connected for it and must not use it any more.
func (k *cutter) lose(l names.Lost) {
	k.cut(Cut{Identity: keyname.Label(l.Key, ""), Name: l.Denied.Name, Why: l.Denied, key: l.Key})
}

func (p *presence) take(s *session, c framing.Claim) (replaced []*session, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// When the link is lost after this check, leave will still withdraw the name.
	// When it was lost before, leave may already have run.
	if s.link.Err() != nil {
		return nil, &framing.Denial{Name: c.Name, Code: framing.DeniedUnavailable, Text: "the link is lost"}
	}
	if s.away.Load() { // set before goAway withdraws the names
		return nil, goingAway(c.Name)
	}
	h := p.names[c.Name]
	if h != nil && !h.key.Equal(s.key) { // its grant has expired under a session
		return nil, denial(names.Taken(c.Name))
	}
	// A run that was replaced does not come back by a link that was on its
	// way: with equal numbers the two would end each other.
	if h != nil && slices.Contains(h.replaced, s.run) {
		return nil, replacedBy(c.Name, true)
	}
	left, replaced, err := h.beside(s, c)
	if err != nil {
		return nil, err
	}
	if h == nil {
		h = &served{key: s.key}
		if p.names == nil {
			p.names = make(map[string]*served)
		}
		p.names[c.Name] = h
	}
	if len(replaced) > 0 || !h.hasRun(s.run) || h.replica != c.Replica {
		p.tell(c.Name)
	}
	h.replace(left, replaced, c.Name)
	h.replica = c.Replica
	h.setRules(c.Rules, s.identity)
	if !slices.Contains(h.sessions, s) {
		h.sessions = append(slices.Clone(h.sessions), s)
		s.meetLocked()
		s.names = append(slices.Clone(s.names), c.Name)
	}
	p.wakeLocked(c.Name)
	return replaced, nil
}

// beside returns which sessions of a name stay beside s, which claims it, and which s
// replaces; or why s gets nothing. Of a name that nobody serves h is nil.
func (h *served) beside(s *session, c framing.Claim) (left, replaced []*session, err error) {
	if h == nil {
		return nil, nil, nil
	}
	for _, old := range h.sessions {
		same := old.key.Equal(s.key)
		switch {
		case old.run == s.run: // whatever the key: it may have handed over meanwhile
			left = append(left, old)
		case !same: // one of an identity that has handed over to this one is always older
			replaced = append(replaced, old)
		case h.replica && c.Replica:
			left = append(left, old)
		case !s.run.Replaces(old.run):
			return nil, nil, replacedBy(c.Name, true)
		default:
			replaced = append(replaced, old)
		}
	}
	return left, replaced, nil
}

// replace leaves a name to some of its sessions, and remembers the runs of the others.
func (h *served) replace(left, replaced []*session, name string) {
	h.sessions = left
	for _, old := range replaced {
		old.loseLocked(name)
		if old.key.Equal(h.key) && !slices.Contains(h.replaced, old.run) { // else it may come back as the heir
			h.replaced = append(h.replaced, old.run)
		}
	}
	h.replaced = h.replaced[max(0, len(h.replaced)-maxReplaced):]
}

// loseLocked takes a name that has led to a session from its names: it may claim it again.
func (sess *session) loseLocked(name string) {
	sess.names = slices.DeleteFunc(slices.Clone(sess.names), func(n string) bool { return n == name })
	sess.partLocked()
}

// goingAway is the denial of a claim on a link whose remote has said that it goes.
func goingAway(name string) *framing.Denial {
	return &framing.Denial{Name: name, Code: framing.DeniedUnavailable, Text: "this link is going away"}
}

// replacedBy is what a session is told of a name that another one has taken over:
// with same, one of its own identity.
func replacedBy(name string, same bool) *framing.Denial {
	if !same {
		return denial(names.HandedOver(name))
	}
	return &framing.Denial{Name: name, Code: framing.DeniedReplaced, Text: "a newer run of this device has taken the name over"}
}

// maxReplaced is how many replaced runs are remembered while a name is served.
const maxReplaced = 16

// A Claimed is a name that a remote's run has got.
type Claimed struct {
	Name    string
	Key     ed25519.PublicKey
	Run     framing.Run
	Replica bool
}

// ClaimedElsewhere tells the server of an old process of a name that a run has got
// in the new one. What is still served here of an older run, or of another
// identity, is treated as it is where the claim was made: the run is told that it
// is replaced, or that the name is another identity's, and its lanes are cut.
func (s *Server) ClaimedElsewhere(c Claimed) {
	s.init()
	s.cutter.giveUp(c, framing.Run.Replaces)
}

// giveUp takes a name away from what c replaces here; newer says which of two runs of
// one identity has it.
func (k *cutter) giveUp(c Claimed, newer func(run, old framing.Run) bool) {
	k.offers.giveUp(c, newer)
	for _, old := range k.presence.giveUp(c, newer) {
		old.revoke(*k.givenUp(old, c))
		old.link.CutLanesOf(c.Name)
	}
	for _, old := range k.presence.outdated(c, newer) {
		old.link.CutLanesOf(c.Name)
	}
}

// givenUp is what a session is told of a name that c takes from it.
func (k *cutter) givenUp(old *session, c Claimed) *framing.Denial {
	same := old.key.Equal(c.Key)
	if !same && !leadsTo(k.names, old.key, c.Key) {
		return denial(names.Taken(c.Name))
	}
	return replacedBy(c.Name, same)
}

// giveUp takes a name away from the sessions that c replaces, and returns them.
func (p *presence) giveUp(c Claimed, newer func(run, old framing.Run) bool) (replaced []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.names[c.Name]
	if h == nil {
		return nil
	}
	var left []*session
	for _, old := range h.sessions {
		if old.run == c.Run { // whatever the key: it may have handed over meanwhile
			left = append(left, old)
			continue
		}
		if same := bytes.Equal(old.key, c.Key); same && (h.replica && c.Replica || !newer(c.Run, old.run)) {
			left = append(left, old)
			continue
		}
		replaced = append(replaced, old)
		old.loseLocked(c.Name)
	}
	if h.sessions = left; len(left) == 0 {
		p.removeLocked(c.Name)
	}
	if len(replaced) > 0 {
		p.tell(c.Name)
	}
	return replaced
}

// outdated returns the sessions that have lost their link, may still have lanes,
// and have a name that c takes over from them. A session that said that it goes
// away keeps its lanes even then.
func (p *presence) outdated(c Claimed, newer func(run, old framing.Run) bool) (list []*session) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for old := range p.lost {
		same := old.key.Equal(c.Key) || old.run == c.Run
		if slices.Contains(old.names, c.Name) && !old.away.Load() && (!same || !c.Replica && newer(c.Run, old.run)) {
			list = append(list, old)
		}
	}
	return list
}
