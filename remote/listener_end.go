package remote

import (
	"context"
	"fmt"
	"time"

	"keystay/framing"
)

// lateGrace is how long a listener takes visitors of its name that a relay had sent on
// before it was told: some are on their way from the link to Accept by then.
const lateGrace = time.Second

// end ends the listener for the given reason, once. The relays are told, and the other
// names of the device are untouched. A device of this name alone ends with it.
func (l *Listener) end(reason error) {
	if l.cfg.only {
		l.d.stop(reason)
		return
	}
	l.ending.Do(func() {
		l.d.unwant(l)
		d := l.d
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stopped { // which ends all listeners
			return
		}
		l.cancel(reason)
		_ = l.unlock()
		d.wg.Go(func() { l.drain(reason) })
	})
}

// drain waits until no relay has the name and no visitor is on its way, and then lets
// Accept return.
func (l *Listener) drain(reason error) {
	down, was := l.links.gone()
	if was { // also where a relay has taken the name back: visitors may be on their way
		timer := time.NewTimer(lateTimeout)
		defer timer.Stop()
		select {
		case <-down:
		case <-timer.C: // a link may be stuck
		case <-l.late.Done():
		}
		timer.Reset(lateGrace)
		select {
		case <-timer.C:
		case <-l.late.Done():
		}
	}
	l.d.remove(l)
	l.endLate()
	l.d.tell(Event{Kind: Ended, Name: l.domain, Err: reason})
}

// remove takes a listener out of the device. Another one that has its name now keeps
// that, and the certificate if it is ordered for that one too.
func (d *Device) remove(l *Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.listeners[l.domain]
	if now == l {
		delete(d.listeners, l.domain)
	}
	if now == l || now == nil || now.cfg.Raw || now.cfg.TLS != nil {
		l.closeCertificate()
	}
}

// awaitVisitors waits until no visitor of the listener is left, and cuts those that are
// when ctx ends.
func (l *Listener) awaitVisitors(ctx context.Context) error {
	select {
	case <-l.late.Done():
	case <-ctx.Done():
		l.endLate()
	}
	cut := 0
	for _, link := range l.d.allLinks() {
		if link.WaitGone(ctx, l.isVisitor) != nil {
			cut += link.CutStreams(l.isVisitor)
		}
	}
	if l.d.home.waitGone(ctx, l) != nil {
		cut += l.d.home.cut(l)
	}
	if cut == 0 {
		return nil
	}
	return fmt.Errorf("%d of them: %w", cut, ctx.Err())
}

// isVisitor reports whether a stream is a visitor's of this listener. Another one may
// have the name by now.
func (l *Listener) isVisitor(stream *framing.Stream) bool { return stream.Tag() == l }
