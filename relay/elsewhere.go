package relay

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"keystay/framing"
)

// A Claimed is a name that a remote's run has got.
type Claimed struct {
	Name    string
	Key     ed25519.PublicKey
	Run     framing.Run
	Replica bool
}

// ClaimedElsewhere tells a server that is handed over of a name that a run has
// got in the process that follows. What is still served here of an older run, or
// of another identity, is treated as it is where the claim was made: the run is
// told that it is replaced, and its lanes are cut.
func (s *Server) ClaimedElsewhere(c Claimed) {
	s.init()
	for _, old := range s.presence.giveUp(c) {
		old.link.Revoke(*replacedBy(c.Name))
		old.link.CutLanes()
	}
	for _, old := range s.presence.outdated(c) {
		old.link.CutLanes()
	}
}

// giveUp takes a name away from the sessions that c replaces, and returns them.
func (p *presence) giveUp(c Claimed) (replaced []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.names[c.Name]
	if h == nil {
		return nil
	}
	var left []*session
	for _, old := range h.sessions {
		if same := bytes.Equal(old.key, c.Key); same && (h.replica && c.Replica || !c.Run.Replaces(old.run)) {
			left = append(left, old)
			continue
		}
		replaced = append(replaced, old)
	}
	if h.sessions = left; len(left) == 0 {
		delete(p.names, c.Name)
	}
	return replaced
}

// outdated returns the sessions whose link is lost, and perhaps not their lanes,
// and that c takes a name over from.
func (p *presence) outdated(c Claimed) (list []*session) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for old := range p.lost {
		same := old.key.Equal(c.Key)
		if slices.Contains(old.names, c.Name) && (!same || !c.Replica && c.Run.Replaces(old.run)) {
			list = append(list, old)
		}
	}
	return list
}
