package remote

import (
	"errors"
	"math/rand/v2"
	"time"

	"keystay/framing"
)

// maxAsked is the longest wait that a relay can ask for when it denies a name.
const maxAsked = 24 * time.Hour

// A relay that says that it has moved is dialled again at once, but one that says so again and
// again only moveBurst times, and then once in each moveInterval. Else it is left alone as one
// whose links are lost.
const (
	moveBurst    = 5
	moveInterval = time.Minute
)

// laterPause is the longest wait of a further link after the first one is back.
const laterPause = 3 * time.Second

// A linker keeps one of the links of a way: it is what is known of that link
// between two sessions.
type linker struct {
	way    *way
	retry  retry
	outage outage    // while another link is up
	heard  int       // wake-ups of the device
	first  bool      // the line let it go as the first, and it has not been up since
	served bool      // it has been up
	moved  time.Time // when the relay last said that it had moved
	moves  allowance
	node   string // of the relay, where the link was; "" is not known
}

// keepLink keeps one link with a session until the way ends. Its error says that the
// relay refuses this device for good.
func (w *way) keepLink() error {
	k := linker{way: w}
	for k.waitTurn() {
		lasted, err := k.session()
		if w.ctx.Err() != nil {
			return nil
		}
		var refusal *framing.Refusal
		if errors.As(err, &refusal) && refusal.Permanent() {
			return err
		}
		k.pause(lasted, err)
	}
	return nil
}

// session is that of the way, and those that take its place on other nodes.
func (k *linker) session() (lasted time.Duration, err error) {
	o := k.way.session(k.node)
	for o.next != nil {
		o = <-o.next
	}
	k.node = o.node
	return o.had, o.err
}

// final reports whether trying again is of no use.
func final(err error) bool {
	var refusal *framing.Refusal
	var denial *framing.Denial
	return errors.As(err, &refusal) && refusal.Permanent() || errors.As(err, &denial) && denial.Permanent()
}

// waitTurn waits until the link may be dialled. It reports false when the way
// has ended.
func (k *linker) waitTurn() bool {
	w := k.way
	for !k.first {
		var waited bool
		k.first, waited = w.line.enter(w.ctx)
		if k.first || !waited || !k.served || w.ctx.Err() != nil {
			break
		}
		w.d.alarm.pause(w.ctx, rand.N(laterPause), &k.heard)
	}
	return w.ctx.Err() == nil
}

// pause waits, after a session that has ended or did not come about, for as long
// as the relay is to be left alone. The log tells of it before or after the wait.
func (k *linker) pause(lasted time.Duration, err error) {
	k.way.noteLoss(err)
	if lasted > 0 {
		k.first, k.served = false, true
	}
	w, wait := k.way, k.wait(lasted, err)
	tellRest := k.tell(lasted > 0, err, wait)
	for wait > 0 && w.ctx.Err() == nil {
		part := min(wait, lineInterval)
		if w.d.alarm.pause(w.ctx, part, &k.heard) {
			k.retry = retry{}
			break
		}
		if wait -= part; wait > 0 && w.outage.isOver() { // not told yet, or another link is up
			k.tell(false, err, wait)
		}
	}
	tellRest()
}

// wait returns how long the relay is to be left alone after a session that
// lasted so long, 0 if there was none, and ended with err.
func (k *linker) wait(lasted time.Duration, err error) time.Duration {
	if lasted > steady {
		k.retry = retry{}
	}
	moved := errors.Is(err, errMoved) || errors.Is(err, errNewKey)
	if moved && time.Since(k.moved) > firstPause && k.moves.take(moveBurst, moveInterval) == 0 {
		k.moved = time.Now()
		return 0
	}
	wait := k.retry.wait(lasted > 0 || cheap(err))
	var denial *framing.Denial
	if errors.As(err, &denial) {
		wait = max(wait, min(denial.Retry, maxAsked))
	}
	return wait
}
