//go:build linux || darwin || freebsd

package handover

import (
	"fmt"
	"time"
)

// claimTimeout is how long it may take to tell the old process of one claim.
const claimTimeout = time.Second

// A Claim is a name that a remote has got in the new process. The old process cuts
// what it still carries for an older run.
type Claim struct {
	Name    string `json:"name"`
	Key     []byte `json:"key"`
	Number  uint64 `json:"number"` // of the run
	Run     []byte `json:"run"`    // its id
	Replica bool   `json:"replica,omitempty"`
}

// Claimed tells the old process of a claim, while it lives. A process of a
// version that does not listen for them is told nothing. After an error no
// further claim is told. Claimed may be called from several goroutines, after
// Serving.
func (n *New) Claimed(c Claim) error {
	n.telling.Lock()
	defer n.telling.Unlock()
	if !n.listens {
		return nil
	}
	n.w.conn.SetWriteDeadline(time.Now().Add(claimTimeout))
	if err := n.w.send(message{Op: "claimed", Claim: &c}); err != nil {
		n.listens = false
		return fmt.Errorf("tell the old process of a claim: %w", err)
	}
	return nil
}

// Claims calls f with each claim that the new process tells of, until the
// connection ends. It is called once, after Offer.
func (o *Old) Claims(f func(Claim)) {
	o.listening.Lock()
	defer o.listening.Unlock()
	for {
		m, err := o.w.receive("claimed")
		if err != nil {
			return
		}
		if m.Claim != nil {
			f(*m.Claim)
		}
	}
}
