package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/names"
)

const (
	// attendEvery is how often etcd is asked whether it answers, and attendAway how often
	// while it does not.
	attendEvery = 4 * time.Second
	attendAway  = 500 * time.Millisecond
	// timeEvery is how old the record's time may become in etcd.
	timeEvery = 30 * time.Minute
)

// attend asks etcd now and then where the record is, until ctx ends. So it is noticed
// when etcd is away, and back, and when the watch has fallen behind: then cancel ends
// that.
func (r *Record) attend(ctx context.Context, cancel context.CancelFunc) {
	for {
		select { // what was heard until now is what is looked into
		case <-r.hurry:
		default:
		}
		wait := time.NewTimer(attendEvery)
		if rev, err := r.revision(ctx, r.keys.head()); err != nil {
			_ = r.gone(err)
		} else if !r.follows(ctx, rev) {
			cancel()
		} else if !errors.Is(r.Whole(), names.ErrDamaged) {
			r.well()
		}
		select {
		case <-wait.C:
		case <-r.hurry:
			pause(ctx, attendAway)
		case <-ctx.Done():
		}
		if wait.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// revision asks for the revision of a key; it is 0 where there is none.
func (e *etcd) revision(ctx context.Context, key string) (rev int64, err error) {
	one, cancel := context.WithTimeout(ctx, e.cfg.AnswerTime)
	defer cancel()
	resp, err := e.client.Load().Get(one, key, clientv3.WithKeysOnly())
	if err != nil || len(resp.Kvs) == 0 {
		return 0, err
	}
	return resp.Kvs[0].GetModRevision(), nil
}

// follows reports whether the watch reaches a revision soon.
func (r *Record) follows(ctx context.Context, rev int64) bool {
	soon, cancel := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancel()
	for s := r.now.Load(); s.rev < rev; s = r.now.Load() {
		select {
		case <-s.newer:
		case <-soon.Done():
			return false
		}
	}
	return true
}

// A barrier is one question to etcd how far the record is, for all who asked while the
// one before was under way.
type barrier struct {
	asking sync.Mutex // one at a time

	mu   sync.Mutex
	next *question // that is not asked yet; nil where nobody waits for one
}

// A question is one to etcd how far the record is.
type question struct {
	done chan struct{} // closed when this node knows all that was written before
	err  error         // why it may not; read after done is closed
}

// errBehind is why the record may be old where etcd answers.
var errBehind = fmt.Errorf("%w: this node has not read yet what others have written", names.ErrClosed)

// Fresh waits until this node knows all that was written to the record before the call, and
// those who watch have heard of it. With an error the record is what this node knew last: ctx
// has ended, etcd does not answer, or its changes do not come here in time.
func (r *Record) Fresh(ctx context.Context) error {
	if err := r.usable(); err != nil {
		return err
	}
	f := &r.barrier
	f.mu.Lock()
	q := f.next
	if q == nil {
		q = &question{done: make(chan struct{})}
		f.next = q
		r.wg.Go(func() { q.err = r.ask(); close(q.done) })
	}
	f.mu.Unlock()
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	return errBehind
}

// ask asks for all who wait for the next question.
func (r *Record) ask() error {
	f := &r.barrier
	f.asking.Lock()
	defer f.asking.Unlock()
	f.mu.Lock()
	f.next = nil // whoever comes from now on waits for the question after this one
	f.mu.Unlock()
	if err := r.usable(); err != nil {
		return err
	}
	rev, err := r.revision(r.ctx, r.keys.head())
	if err != nil {
		return r.gone(err)
	}
	if r.follows(r.ctx, rev) {
		select {
		case <-r.now.Load().told:
			return nil
		case <-r.ctx.Done():
		}
	}
	return errBehind
}

// Upkeep writes down the record's time, if nobody has done so lately, and removes what
// was begun and never finished.
func (r *Record) Upkeep(_ *slog.Logger) error {
	if err := r.usable(); err != nil {
		return err
	}
	err := r.change(func(t *tx, h *head) error {
		if t.now.Sub(h.Time) >= timeEvery {
			h.Time = t.now
		}
		return nil
	})
	r.remember()
	return errors.Join(err, r.staged.sweep(r.now.Load, r.keys), r.audit.sweep())
}

// usable is Whole; a record that was never read is not usable either.
func (r *Record) usable() error {
	if r.now.Load() == nil {
		return r.whyNot()
	}
	return r.Whole()
}

// A memory is what a node keeps of the record for its next start.
type memory struct {
	Prefix string `json:"prefix"`
	Seq    uint64 `json:"seq"`
}

// remember notes how far the record is.
func (r *Record) remember() {
	s := r.now.Load()
	if s == nil || r.cfg.File == "" {
		return
	}
	b, _ := json.Marshal(memory{r.prefix, s.head.Seq}) // which cannot fail
	err := ownfile.MkdirAll(filepath.Dir(r.cfg.File))
	if err == nil {
		err = ownfile.Write(r.cfg.File, b)
	}
	if err != nil {
		r.log.Warn("cannot note how far the record of names is", "err", err)
	}
}

// least is how far the record was when this node has seen it last.
func (r *Record) least() (seq uint64, err error) {
	if s := r.now.Load(); s != nil {
		return s.head.Seq, nil
	}
	if r.cfg.File == "" {
		return 0, nil
	}
	b, err := ownfile.Read(r.cfg.File)
	var m memory
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("cannot tell how far the record of names was: %w", err)
	case json.Unmarshal(b, &m) == nil && m.Prefix == r.prefix:
		return m.Seq, nil
	}
	return 0, nil
}

// checkAge returns an error for the head of a record that is older than what this node
// has seen, which was as far as least. The zero head is that of no record.
func (r *Record) checkAge(h head, least uint64) error {
	if h.Seq < least {
		err := fmt.Errorf("%w: etcd has an older one than this node has seen, or none", names.ErrDamaged)
		return hint.RecordOlder.Error(err, "FILE", r.cfg.File)
	}
	return nil
}
