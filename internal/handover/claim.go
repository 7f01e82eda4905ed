//go:build linux || darwin || freebsd

package handover

import (
	"sync"
	"time"
)

const (
	// maxUntold is how many claims wait for an old process that does not read. Each
	// takes about 500 bytes at most.
	maxUntold = 1 << 16
	// lastWords is how long the end of a new process waits until the claims that
	// wait are told.
	lastWords = time.Second
)

// A Claim is a name that a remote has got in the new process. The old process cuts
// what it still carries for an older run.
type Claim struct {
	Name    string `json:"name"`
	Key     []byte `json:"key"`
	Number  uint64 `json:"number"` // of the run
	Run     []byte `json:"run"`    // its id
	Replica bool   `json:"replica,omitempty"`
}

// untold are the claims that wait to be told, in their order.
type untold struct {
	mu      sync.Mutex
	tells   bool // the old process listens
	telling bool // tell runs
	claims  []Claim
	lost    bool          // there were too many
	more    chan struct{} // has room for one
	ended   chan struct{} // closed by Close
	stopped chan struct{} // closed by tell
}

// Claimed tells the old process, if it listens for claims, that this process has
// granted one. It never waits: claims wait for an old process that is slow, up to
// maxUntold. Beyond them the old process is told that it has missed some, and is
// told nothing more.
func (n *New) Claimed(c Claim) {
	u := &n.untold
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.tells || u.lost:
		return
	case len(u.claims) < maxUntold:
		u.claims = append(u.claims, c)
	default:
		u.claims, u.lost = nil, true
	}
	u.wake()
}

// Missed tells the old process, if it listens for claims, that it has missed some,
// and is told nothing more.
func (n *New) Missed() {
	u := &n.untold
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tells {
		u.claims, u.lost = nil, true
		u.wake()
	}
}

// wake lets tell look again.
func (u *untold) wake() {
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// begin keeps claims from now on, if the old process listens for them.
func (u *untold) begin(tells bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tells = tells
	u.more, u.ended, u.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// start begins to tell them, which the old process expects from now on.
func (u *untold) start(w *wire) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tells {
		u.telling = true
		go u.tell(w)
	}
}

// tell tells the claims until there will be no more, or the connection ends.
func (u *untold) tell(w *wire) {
	defer close(u.stopped)
	for last := false; ; {
		u.mu.Lock()
		claims, lost := u.claims, u.lost
		u.claims = nil
		u.mu.Unlock()
		for i := range claims {
			if w.send(message{Op: "claimed", Claim: &claims[i]}) != nil {
				return
			}
		}
		if lost {
			_ = w.send(message{Op: "missed"})
			return
		}
		if last {
			return
		}
		select {
		case <-u.more:
		case <-u.ended:
			last = true // but for what has come just now
		}
	}
}

// end waits, for lastWords at most, until the claims that wait are told.
func (u *untold) end(w *wire) {
	u.mu.Lock()
	telling := u.telling
	u.tells, u.telling = false, false
	u.mu.Unlock()
	if telling {
		w.conn.SetWriteDeadline(time.Now().Add(lastWords))
		close(u.ended)
		<-u.stopped
	}
}

// Claims calls f for each claim that the new process has granted, in their order.
// It returns when the connection ends, or Close is called; missed then says that
// the new process had more to tell than it could keep, so that nothing here is
// known to be right any more.
func (o *Old) Claims(f func(Claim)) (missed bool) {
	o.listening.Lock()
	defer o.listening.Unlock()
	for {
		m, err := o.w.receive("claimed", "missed")
		switch {
		case err != nil:
			return false
		case m.Op == "missed":
			return true
		case m.Claim != nil:
			f(*m.Claim)
		}
	}
}
