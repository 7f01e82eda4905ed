package remote

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// How the next start knows which relay has given a name.
//
// It is written before the name answers, so that a rotation keeps the key that the name
// belongs to, however the run has ended. What cannot be written keeps no name from its
// visitors: it is written again and again, and until then state.owe keeps the key.

// writesAtOnce is how many files are written at once: most of such a write is waiting
// for the disk, which writes many as fast as one.
const writesAtOnce = 32

// rememberAgain is the wait before what could not be written is written again.
const rememberAgain = time.Minute

// remember keeps for the next start how the names are served that a relay gives for the
// first time, as it has answered.
func (w *way) remember(relay string, answers []decision) {
	answers = slices.DeleteFunc(slices.Clone(answers), func(a decision) bool { return a.err != nil || a.l.kept.hasLost(relay) })
	w.mu.Lock()
	if w.gave == nil {
		w.gave = make(map[*Listener]int)
	}
	var given []decision
	for _, a := range answers {
		if _, before := w.gave[a.l]; !before {
			w.gave[a.l] = 0 // no link has it yet
			given = append(given, a)
		}
	}
	w.mu.Unlock()
	if len(given) == 0 {
		return
	}
	paid, err := w.d.state.owe()
	if err != nil {
		w.d.log.Warn("a new key is not kept from taking the place of this one too early", "err", err, hint.Attr(hint.All(err)))
	}
	log := w.d.log.Warn
	write := func() bool {
		given = w.d.state.rememberAll(relay, given, func(err error) { log("cannot remember how the name is served; trying again", "err", err) })
		log = w.d.log.Debug
		return len(given) == 0
	}
	if write() {
		paid()
		return
	}
	w.d.wg.Go(func() {
		defer paid()
		for ended := false; !ended; {
			select {
			case <-time.After(rememberAgain):
			case <-w.ctx.Done():
				ended = true
			}
			given = slices.DeleteFunc(given, func(a decision) bool { // it may be forgotten
				return a.l.kept.hasLost(relay) || ended && final(context.Cause(a.l.ctx))
			})
			if write() {
				w.d.log.Info("it is remembered now how all names are served", "relay", relay)
				return
			}
		}
	})
}

// rememberAll remembers how names are served that a relay has given, and returns those that
// it could not, each of which it tells.
func (s *state) rememberAll(relay string, given []decision, tell func(error)) (left []decision) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, writesAtOnce)
	for _, a := range given {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := a.l.kept.remember(s, relay, a); err != nil {
				mu.Lock()
				defer mu.Unlock()
				tell(err)
				left = append(left, a)
			}
		})
	}
	wg.Wait()
	return left
}

// served is how the name of an answer is served, as the next start is to know it.
func (a decision) served(relay string) served {
	how := a.l.how
	how.Service = a.l.cfg.Service
	if a.l.isPort() {
		how.Public = publicPort(a.l.domain, a.claimed.Port)
	}
	if !how.Named {
		how.Relays = []string{relay}
	}
	return how
}

// A kept is what is remembered of the relays of a name, as far as its run knows.
type kept struct {
	mu     sync.Mutex
	relays []string // that the file had at the start, or that the run wrote last
	lost   []string // that the name was given back to, or that have refused it for good; hosts
}

// remember keeps how the name of an answer is served, without the relays where it is not any
// more: others may have forgotten some in the file meanwhile, see forgetAt.
func (k *kept) remember(s *state, relay string, a decision) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	how := a.served(relay)
	now, err := s.served(a.l.domain)
	isRead := err == nil || errors.Is(err, errNotServed)
	how.Relays = slices.DeleteFunc(slices.Clone(how.Relays), func(r string) bool {
		r = relayHost(r)
		return r != relayHost(relay) && (slices.Contains(k.lost, r) || isRead && hasHost(k.relays, r) && !hasHost(now.Relays, r))
	})
	err = s.remember(a.l.domain, how)
	if err == nil {
		k.relays = how.Relays
	}
	return err
}

// lose notes that a relay has refused the name for good. One that was remembered and says that
// it is another identity's is remembered on: that may be an earlier one of this device.
func (k *kept) lose(host string, why error) {
	var denial *framing.Denial
	if !errors.As(why, &denial) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if denial.Code == framing.DeniedReleased || denial.Code == framing.DeniedTaken && !hasHost(k.relays, host) {
		k.lost = append(k.lost, host)
	}
}

// hasLost reports whether the name is not this relay's any more.
func (k *kept) hasLost(relay string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.lost, relayHost(relay))
}

// hasGiven reports whether it is remembered that a relay has given a name, or was named beside
// one that has.
func hasGiven(s *state, name, relay string) bool {
	how, err := s.served(name)
	return err == nil && hasHost(how.Relays, relayHost(relay))
}

// hasHost reports whether one of the relays has this host.
func hasHost(relays []string, host string) bool {
	return slices.ContainsFunc(relays, func(r string) bool { return relayHost(r) == host })
}

// rememberLock is held by runs while there is a name that a relay has given, and that is not
// remembered, and by a rotation and what forgets a name.
const rememberLock = "remember.lock"

// rotateTimeout is how long a rotation waits for what is being remembered.
const rotateTimeout = 5 * time.Second

// owed is how much there is to remember.
type owed struct {
	mu   sync.Mutex
	n    int
	lock *flock.Flock
}

// owe keeps the key from being rotated until paid is called. That is also there with an error.
func (s *state) owe() (paid func(), err error) {
	o := &s.owed
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n++; o.n == 1 {
		o.lock = flock.New(s.path(rememberLock), flock.SetPermissions(0o600))
		if err = ownfile.NoPipe(o.lock.Path()); err == nil {
			err = o.lock.RLock()
		}
		if err != nil {
			err = unusable("lock", s.dir, o.lock.Path(), err)
		}
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.n--; o.n == 0 {
			o.lock.Close()
		}
	}, err
}

// awaitPaid keeps runs from serving names for the first time until unlock is called, once
// what they serve is remembered.
func (s *state) awaitPaid() (unlock func() error, err error) {
	lock := flock.New(s.path(rememberLock), flock.SetPermissions(0o600))
	if _, err := os.Stat(lock.Path()); errors.Is(err, fs.ErrNotExist) { // no run has begun
		return func() error { return nil }, nil
	}
	if err := ownfile.NoPipe(lock.Path()); err != nil {
		return nil, unusable("lock", s.dir, lock.Path(), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), rotateTimeout)
	defer cancel()
	_, err = lock.TryLockContext(ctx, rotateTimeout/100)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, hint.NamesUnkept.Error(errors.New("a run cannot write which relay has given it a name"))
	case err != nil:
		return nil, unusable("lock", s.dir, lock.Path(), err)
	}
	return lock.Close, nil
}
