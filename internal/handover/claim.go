//go:build linux || darwin || freebsd

package handover

import (
	"sync"
	"time"
)

const (
	// maxUntold is how many claims and cuts wait for an old process that does not read.
	// Each takes about 500 bytes at most; a cut, what its text and its Earlier have.
	maxUntold = 1 << 16
	// lastWords is how long the end of a new process waits until what waits is told.
	lastWords = time.Second
	// MaxEarlier is how many keys a cut may have in Earlier: it is one line.
	MaxEarlier = 1024
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

// A Cut is what the new process has cut off. The old process cuts it off too.
type Cut struct {
	Identity  string   `json:"identity,omitempty"`
	Name      string   `json:"name,omitempty"`
	Address   string   `json:"address,omitempty"`
	Addresses string   `json:"addresses,omitempty"`
	Code      int      `json:"code,omitempty"` // why, 0 where what is cut may come back
	Text      string   `json:"text,omitempty"` // for remotes, as Hints
	Hints     []string `json:"hints,omitempty"`
	Earlier   []string `json:"earlier,omitempty"` // identities that have handed over to Identity, MaxEarlier at most; each is told once
}

// untold are the claims and cuts that wait to be told, in their order.
type untold struct {
	mu      sync.Mutex
	tells   bool // the old process listens for claims
	cuts    bool // and for cuts
	earlier bool // and knows what their Earlier is
	gone    bool // nothing can be told any more
	telling bool // tell runs
	list    []message
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
	n.untold.add(message{Op: "claimed", Claim: &c})
}

// Cut tells the old process of a cut, as Claimed does of a claim. It reports false
// where the old process does not listen for cuts, or does not know of Earlier.
func (n *New) Cut(c Cut) (listens bool) {
	u := &n.untold
	u.mu.Lock()
	listens = u.cuts
	earlier := u.earlier
	u.mu.Unlock()
	if listens {
		u.add(message{Op: "cut", Cut: &c})
	}
	return listens && (earlier || len(c.Earlier) == 0)
}

// Gone reports whether nothing can be told to the old process any more, as when it has
// ended.
func (n *New) Gone() bool {
	n.untold.mu.Lock()
	defer n.untold.mu.Unlock()
	return n.untold.gone
}

// leave forgets what waits: nothing can be told any more.
func (u *untold) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone, u.tells, u.list = true, false, nil
}

func (u *untold) add(m message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.tells || u.lost:
		return
	case len(u.list) < maxUntold:
		u.list = append(u.list, m)
	default:
		u.list, u.lost = nil, true
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
		u.list, u.lost = nil, true
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

// begin keeps claims and cuts from now on, if the old process listens for them.
func (u *untold) begin(tells, cuts, earlier bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tells, u.cuts, u.earlier = tells, tells && cuts, earlier
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

// tell tells them until there will be no more, or the connection ends.
func (u *untold) tell(w *wire) {
	defer close(u.stopped)
	for last := false; ; {
		u.mu.Lock()
		list, lost := u.list, u.lost
		u.list = nil
		u.mu.Unlock()
		for _, m := range list {
			if w.send(m) != nil {
				u.leave()
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

// Told calls claimed for each claim that the new process has granted, and cut for
// each cut, in their order. It returns when the connection ends, or Close is called;
// missed then says that the new process had more to tell than it could keep, so that
// nothing here is known to be right any more.
func (o *Old) Told(claimed func(Claim), cut func(Cut)) (missed bool) {
	o.listening.Lock()
	defer o.listening.Unlock()
	for {
		m, err := o.w.receive("claimed", "cut", "missed")
		switch {
		case err != nil:
			return false
		case m.Op == "missed":
			return true
		case m.Claim != nil:
			claimed(*m.Claim)
		case m.Cut != nil:
			cut(*m.Cut)
		}
	}
}
