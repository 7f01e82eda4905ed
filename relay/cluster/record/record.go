package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/internal/hint"
	"keystay/internal/outage"
	"keystay/relay/names"
)

// A Record is the record of names in etcd, as one node has it, and the list of the
// nodes. Make it with Open.
type Record struct {
	cfg    Config
	prefix string // with a slash

	headKeyed, entryKey, nodeKey, auditKey []byte // see derived

	stop    context.CancelFunc
	ctx     context.Context // ends with Close
	wg      sync.WaitGroup
	log     *slog.Logger
	clock   clock
	queue   queue
	barrier barrier
	away    outage.Outage
	// refusal is that etcd answers and says no, as to a change where it has no room.
	refusal outage.Outage
	strays  map[string]bool // ids of what was staged and does not count, as Upkeep saw it last

	client atomic.Pointer[clientv3.Client] // nil until there is one
	now    atomic.Pointer[state]           // nil until it was read once

	cloning sync.Mutex // of trees

	mu      sync.Mutex
	opened  chan struct{} // closed when it was read once
	trouble error         // why nothing can be claimed; nil when all is well
	watch   []func(names.Table)
	others  []func(names.Table, []byte)
	nodes   nodeList
	zone    string // of Begin; empty before

	audit           chan line     // on its way to etcd
	ending, audited chan struct{} // closed when Close begins, and when all of the audit log is written
	closing         sync.Once

	hurry chan struct{} // hears when etcd has not answered; has room for one

	telling sync.Mutex // of the nodes: one call at a time
}

var _ names.SharedStore = (*Record)(nil)

// Open begins to read the record, and to follow it, until Close. It does not wait for
// etcd: until the record was read once it is closed, see [Record.Opened], and
// [Record.Ready] says why. Where there is no record yet it is made. The error is one of
// the configuration.
func Open(cfg Config) (*Record, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Record{cfg: cfg, prefix: cfg.Prefix + "/", log: cfg.Logger, opened: make(chan struct{}), hurry: make(chan struct{}, 1), audit: make(chan line, waitingAudit), ending: make(chan struct{}), audited: make(chan struct{}), trouble: errNotYet,
		headKeyed: derived(cfg.Key, "head"), entryKey: derived(cfg.Key, "entry"), nodeKey: derived(cfg.Key, "node"), auditKey: derived(cfg.Key, "audit")}
	r.clock.wall = cfg.Now
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.wg.Go(r.follow)
	r.wg.Go(r.followNodes)
	go r.writeAudit()
	return r, nil
}

// errNotYet says that etcd has not answered since the start.
var errNotYet = fmt.Errorf("%w: etcd has not answered yet", names.ErrClosed)

// ErrNone is wrapped by the error of Ready where there is no record, and none is to be
// made.
var ErrNone = fmt.Errorf("%w: there is none in etcd yet", names.ErrClosed)

// Close ends what Open has begun. Nobody uses the record meanwhile.
func (r *Record) Close() error {
	r.remember()
	r.closing.Do(func() { close(r.ending) })
	<-r.audited
	r.stop()
	r.wg.Wait()
	if c := r.client.Load(); c != nil {
		return c.Close()
	}
	return nil
}

// Ready waits until the record can be read. The error says why it cannot when ctx ends;
// it wraps [names.ErrDamaged] where what is in etcd is not the record of these nodes, and
// [ErrNone] where there is none: then it does not wait.
func (r *Record) Ready(ctx context.Context) error {
	for {
		r.mu.Lock()
		opened, trouble := r.opened, r.trouble
		r.mu.Unlock()
		if errors.Is(trouble, names.ErrDamaged) || errors.Is(trouble, ErrNone) {
			return trouble
		}
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return trouble
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Opened returns a channel that is closed when the record was read once. From then on
// it is never closed.
func (r *Record) Opened() <-chan struct{} { return r.opened }

// Begin notes the name below which all names are. A record of another one is damaged.
func (r *Record) Begin(zone string) {
	r.mu.Lock()
	r.zone = zone
	r.mu.Unlock()
	r.wg.Go(func() {
		select {
		case <-r.opened:
		case <-r.ctx.Done():
			return
		}
		_ = r.change(func(_ *tx, h *head) error { // or the next start does it
			if h.Zone == "" {
				h.Zone = zone
			}
			return nil
		})
		if err := r.checkZone(r.now.Load().head); err != nil {
			r.fault(err)
		}
	})
}

// checkZone returns an error for the head of another relay's record.
func (r *Record) checkZone(h head) error {
	r.mu.Lock()
	zone := r.zone
	r.mu.Unlock()
	if h.Zone == "" || zone == "" || h.Zone == zone {
		return nil
	}
	return hint.RecordElsewhere.Error(fmt.Errorf("%w: it is the record of the relay %s", names.ErrDamaged, h.Zone))
}

// View runs f on the record as this node knows it now.
func (r *Record) View(f func(names.Tx) error) error {
	s := r.now.Load()
	if s == nil {
		return r.whyNot()
	}
	return guard(func() error { return f(&tx{tables: s.tables, now: r.clock.now()}) })
}

// Whole says why nothing can be claimed now, or nil: etcd is away, or what is there was
// not written by a node of this relay. It reads nothing.
func (r *Record) Whole() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

// whyNot is Whole for a record that cannot be read.
func (r *Record) whyNot() error {
	if err := r.Whole(); err != nil {
		return err
	}
	return names.ErrClosed
}

// Watch makes f be called with each table that has changed.
func (r *Record) Watch(f func(names.Table)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch = append(r.watch, f)
}

// Elsewhere makes f be called with each entry that another node has changed, once View
// shows the change; and with a table and no key where any entry of it may have changed.
// f may be called for what this node has changed, and from several goroutines.
func (r *Record) Elsewhere(f func(names.Table, []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others = append(r.others, f)
}

// tell calls those that Watch has.
func (r *Record) tell(tables []names.Table) {
	r.mu.Lock()
	list := r.watch
	r.mu.Unlock()
	for _, f := range list {
		for _, t := range tables {
			f(t)
		}
	}
}

// tellElsewhere calls those that Elsewhere has.
func (r *Record) tellElsewhere(list []change) {
	r.mu.Lock()
	others := r.others
	r.mu.Unlock()
	for _, f := range others {
		for _, c := range list {
			f(c.table, c.key)
		}
	}
}

// publish makes next the state, if it is the newer one.
func (r *Record) publish(next *state) (done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.now.Load()
	if was != nil && was.rev >= next.rev {
		return false
	}
	r.clock.reach(next.head.Time)
	r.now.Store(next)
	if was != nil {
		close(was.newer)
	} else {
		close(r.opened)
	}
	return true
}

// fault notes why nothing can be claimed, and tells the log.
func (r *Record) fault(err error) {
	r.mu.Lock()
	same := r.trouble != nil && r.trouble.Error() == err.Error()
	r.trouble = err
	r.mu.Unlock()
	if errors.Is(err, names.ErrDamaged) && !same {
		r.log.Error("the record of names cannot be used; no new name is given out", "err", err, hint.Attr(hint.All(err)))
	}
}

// well notes that the record is read, and etcd answers.
func (r *Record) well() {
	r.mu.Lock()
	r.trouble = nil
	r.mu.Unlock()
	if lasted, _, told := r.away.Ends(); told {
		r.log.Info("etcd answers again", "lasted", lasted.Round(time.Second))
	}
}

// gone notes that etcd does not answer, which is told once.
func (r *Record) gone(err error) error {
	if r.ctx.Err() != nil {
		return r.cfg.awayError(err, false)
	}
	tell, _ := r.away.Failed(1)
	err = r.cfg.awayError(err, tell)
	if was := r.Whole(); tell || !errors.Is(was, names.ErrClosed) || errors.Is(was, errNotYet) { // else the reason is known
		if !errors.Is(was, names.ErrDamaged) {
			r.fault(err)
		}
	}
	select {
	case r.hurry <- struct{}{}:
	default:
	}
	if tell {
		r.log.Error("etcd does not answer: what is up goes on, and no new name is given out", "err", err, hint.Attr(hint.All(err)))
	}
	return err
}
