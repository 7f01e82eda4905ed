//go:build linux || darwin || freebsd

package handover

import (
	"fmt"
	"time"
)

// claimTimeout is how long it may take to tell the process before of one claim.
const claimTimeout = time.Second

// A Claim is a name that a remote has got in the process that has taken over.
// The process before cuts what it still carries for an older run.
type Claim struct {
	Name    string `json:"name"`
	Key     []byte `json:"key"`
	Number  uint64 `json:"number"` // of the run
	Run     []byte `json:"run"`    // its id
	Replica bool   `json:"replica,omitempty"`
}

// Claimed tells the process before of a claim, while it lives. A process of a
// version that does not listen for them is told nothing. After an error no
// further claim is told. Claimed may be called from several goroutines, after
// Serving.
func (p *Predecessor) Claimed(c Claim) error {
	p.telling.Lock()
	defer p.telling.Unlock()
	if !p.listens {
		return nil
	}
	p.w.conn.SetWriteDeadline(time.Now().Add(claimTimeout))
	if err := p.w.send(message{Op: "claimed", Claim: &c}); err != nil {
		p.listens = false
		return fmt.Errorf("tell the process before of a claim: %w", err)
	}
	return nil
}

// Claims calls f with each claim that the other process tells of, until the
// connection ends. It is called once, after Offer.
func (s *Successor) Claims(f func(Claim)) {
	s.listening.Lock()
	defer s.listening.Unlock()
	for {
		m, err := s.w.receive("claimed")
		if err != nil {
			return
		}
		if m.Claim != nil {
			f(*m.Claim)
		}
	}
}
