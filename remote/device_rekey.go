package remote

import (
	"crypto/ed25519"
	"errors"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
)

// How a run goes on with a new key.
//
// TakeUpIdentity changes the key, and tells the sessions. Each sees that its link has
// another key than its relay is to be greeted with, ends, and leaves its link as it is:
// the relay goes on sending visitors there. The next link says hello with the new key
// and shows with its claims what the old one hands over. Since it is of the same run,
// the relay lets both have the names. Then the device says on the old link that it goes
// away, and serves the visitors that it has to their end.

// errNewKey is why a session ends whose link has a key from before.
var errNewKey = errors.New("the device goes on with another key")

// TakeUpIdentity makes the run go on with the key that the state directory has, after
// RotateIdentity, without losing a visitor; and reports whether it is another one. It
// fails where a name is served that is made from the old key: that one takes a new
// start. A run whose names go to the new key otherwise, as by another process of the
// device, takes it up by itself.
func (d *Device) TakeUpIdentity() (changed bool, err error) {
	now, unlock, err := lockIdentity(d.cfg.StateDir)
	if err != nil {
		return false, err
	}
	defer unlock() // not before the run has what was read: see state.noteHeard
	list, err := now.loadHandovers(now.public())
	if err != nil {
		return false, err
	}
	if now.public().Equal(d.state.keys.public()) {
		d.state.keys.setList(list)
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.listeners {
		if l.how.Made {
			return false, hint.KeyNameRuns.Error(errors.New("the new key is not in use yet: a name is served that is made from the old one"))
		}
	}
	d.state.keys.set(now.key, list)
	for _, w := range d.ways {
		w.tellLocked()
	}
	return true, nil
}

// TakeUpIdentity is that of the device.
func (l *Listener) TakeUpIdentity() (changed bool, err error) { return l.d.TakeUpIdentity() }

// hasOldKey reports whether the link has another key than one to its relay is to have.
func (s *session) hasOldKey() bool {
	return !s.w.d.state.keys.isFor(s.r.relay, s.r.welcome.Minor, s.r.link.Identity())
}

// isBehind is hasOldKey, also by what another link of the way has learned since: through
// that one the name may have been handed over.
func (s *session) isBehind() bool {
	return s.hasOldKey() || !s.r.link.Identity().Equal(s.w.d.state.keys.forRelay(s.r.relay).Public())
}

// isOutdated reports whether a relay may have refused a name for good because the
// identity of the link has handed over: then another link gets it.
func (s *session) isOutdated(why error) bool {
	var denial *framing.Denial
	if !errors.As(why, &denial) || denial.Code != framing.DeniedTaken {
		return false
	}
	if !s.isBehind() {
		if _, err := s.w.d.TakeUpIdentity(); err != nil {
			s.w.d.log.Warn("cannot take up another key", "err", err, hint.Attr(hint.All(err)))
		}
	}
	return s.isBehind()
}

// succeedTime is how long a link with an old key stays for one with the new key that does not
// come, where as many others wait as the device keeps to a relay. Those wait without an end:
// the names are on them, and an honest relay may deny them to the new key for hours.
const succeedTime = 10 * time.Minute

// succeed keeps a link with an old key until one has the names with the key that the relay's
// links are due to have by then, which may be another one than when the wait began; and then
// ends it in good order. It counts as one of those whose relay goes away, so that the device
// does not fill with them.
func (w *way) succeed(link *framing.Link, due func() ed25519.PublicKey) {
	d := w.d
	defer w.left.Add(-1)
	if w.left.Add(1) > w.partOfLeft() {
		link.Close()
		return
	}
	if awaitKey(w, link, due) {
		d.goodbye(link, errNewKey.Error())
	}
}

// awaitKey is the wait of succeed, and reports whether the link is there still. It counts as
// waiting until it is over, and not for as long as visitors stay on the link.
func awaitKey(w *way, link *framing.Link, due func() ed25519.PublicKey) bool {
	var over <-chan time.Time
	defer w.waiting.Add(-1)
	if int(w.waiting.Add(1)) > w.d.linksEach() {
		over = time.After(succeedTime)
	}
	for {
		key := due()
		claimed, next := w.claimedWith(key)
		if claimed && !key.Equal(link.Identity()) {
			return true
		}
		select {
		case <-next:
		case <-over:
			return true
		case <-w.ctx.Done():
			return true
		case <-link.Done():
			return false
		}
	}
}

// claimedWith reports whether a link with this key has claimed its names, and returns a
// channel that is closed when one with another key has.
func (w *way) claimedWith(key ed25519.PublicKey) (claimed bool, next <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nextKey == nil {
		w.nextKey = make(chan struct{})
	}
	return w.keyed[string(key)], w.nextKey
}

// noteClaimed notes that the link has claimed its names with its key, for succeed.
func (w *way) noteClaimed(key ed25519.PublicKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keyed[string(key)] {
		return
	}
	if w.keyed == nil {
		w.keyed = make(map[string]bool)
	}
	w.keyed[string(key)] = true
	if w.nextKey != nil {
		close(w.nextKey)
		w.nextKey = nil
	}
}

// noteHeard keeps that a relay has granted a claim with hand-overs, on a link of this minor
// version: one that is too old reads none, and grants the claim all the same.
func (d *Device) noteHeard(relay string, minor uint8, identity ed25519.PublicKey) {
	if len(d.state.keys.handovers(relay, minor, identity)) == 0 { // another claim came first
		return
	}
	left, err := d.state.noteHeard(relay, identity)
	if err != nil {
		if d.unheard.tells(relay+err.Error(), false) { // there is a claim whenever the relay likes
			d.log.Warn("cannot keep that the relay has heard of the new key; it is told once more", "relay", relay, "err", err, hint.Attr(hint.All(err)))
		}
		return
	}
	d.unheard.ends()
	d.log.Info("the relay has taken up the new key", "relay", relay, "waiting", len(pending(left)))
}
