package record

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"keystay/internal/batch"
	"keystay/relay/names"
)

const (
	// maxJoined is how many changes of callers are made in one transaction.
	maxJoined = 64
	// updateAnswers is how many answers of etcd a change may take: others may be first again
	// and again.
	updateAnswers = 3
)

// An edit makes changes in a transaction, and may change the head.
type edit func(*tx, *head) error

// A queued is an edit whose caller waits.
type queued = batch.Entry[edit]

// Update runs f in a transaction that reads and writes, perhaps several times, and
// together with what others ask for meanwhile. An error that wraps [names.ErrClosed]
// may come after the change was made all the same: etcd may have been away for the
// answer alone.
func (r *Record) Update(f func(names.Tx) error) error {
	return r.change(func(t *tx, _ *head) error { return f(t) })
}

// change is Update for f that may change the head.
func (r *Record) change(f edit) error {
	return r.queue.Do(f, maxJoined, r.write)
}

// write makes the changes of a list, in as few transactions as they fit into.
func (r *Record) write(list []*queued) {
	ctx, cancel := context.WithTimeout(r.ctx, updateAnswers*r.cfg.AnswerTime)
	defer cancel()
	left := list
	for len(left) > 0 {
		n, err := r.writeSome(ctx, left)
		if err != nil {
			for _, c := range left {
				c.Err = err
			}
			break
		}
		left = left[n:]
	}
}

// writeSome makes the first n changes of a list in one transaction. One that fails is
// left out of it, and gets its error. The error is one of all.
func (r *Record) writeSome(ctx context.Context, list []*queued) (n int, err error) {
	for try := 0; ; try++ {
		s, err := r.writable()
		if err != nil {
			return 0, err
		}
		d, h, n := r.make(s, list)
		if len(d.changes) == 0 && h == s.head {
			// Nothing is changed, as where a name is not the one's who gives it back: of a
			// record that is behind that says nothing.
			if is, err := r.isNewest(ctx, s); err != nil || is {
				return n, err
			}
			continue
		}
		won, err := r.commit(ctx, d, h)
		if err != nil || won {
			return n, err
		}
		if try > 1 { // others are first again and again
			pause(ctx, time.Duration(rand.Int64N(int64(min(try, 20))*int64(time.Millisecond))))
		}
	}
}

// isNewest reports whether a state is still that of etcd. Where it is not, this waits until this
// node knows why. Of an etcd that has an older one, nothing newer is to be had.
func (r *Record) isNewest(ctx context.Context, s *state) (bool, error) {
	rev, err := r.revision(ctx, r.keys.head())
	switch {
	case err != nil:
		return false, r.gone(err)
	case rev == 0:
		err := foreign("it is gone from etcd")
		r.fault(err)
		return false, err
	case rev <= s.rev:
		return true, nil
	}
	return false, r.caughtUp(ctx, rev)
}

// writable returns the state to make a transaction on.
func (r *Record) writable() (*state, error) {
	for {
		if err := r.Whole(); err != nil {
			return nil, err
		}
		s := r.now.Load()
		select {
		case <-s.told: // what claims are decided by follows from the record, such as the bans
		case <-r.ctx.Done():
			return nil, r.whyNot()
		}
		if s.head.Staged == "" {
			return s, nil
		}
		if err := r.finish(s); err != nil {
			return nil, err
		}
	}
}

// make makes the changes of a list on a state, as far as they fit into one transaction
// of etcd; the first always does.
func (r *Record) make(s *state, list []*queued) (d *draft, h head, n int) {
	d, h = r.draft(s), s.head
	for _, c := range list {
		next, to := d.fork(), h
		c.Err = guard(func() error { return c.Make(&tx{next.tables, next, r.clock.now()}, &to) })
		if c.Err == nil && next.size > d.size && next.size > r.cfg.MaxBytes { // it could not be read anew
			c.Err = r.full()
		}
		if c.Err == nil {
			if n > 0 && !fits(next.changes) {
				break
			}
			d, h = next, to
		}
		n++
	}
	return d, h, n
}

// guard runs f, and makes an error of a panic: others wait for the queue.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake in this program, at %s: %v", panickedAt(), p)
		}
	}()
	return f()
}

// panickedAt returns the innermost place of keystay below a panic, for a deferred
// function.
func panickedAt() string {
	var pc [64]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(0, pc[:])])
	for below, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			below = true
		case below && strings.HasPrefix(f.Function, "keystay/"):
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
	}
	return "a place that is not known"
}

// pause waits for some time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// caughtUp waits until this node knows the record as of a revision.
func (r *Record) caughtUp(ctx context.Context, rev int64) error {
	for {
		s := r.now.Load()
		if s != nil && s.rev >= rev {
			return nil
		}
		if err := r.Whole(); errors.Is(err, names.ErrDamaged) {
			return err
		}
		select {
		case <-s.newer:
		case <-time.After(100 * time.Millisecond): // it may be damaged meanwhile
		case <-ctx.Done():
			return r.gone(errors.New("its changes do not arrive in time"))
		}
	}
}
