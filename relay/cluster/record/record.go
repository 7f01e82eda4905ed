package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/batch"
	"keystay/internal/hint"
	"keystay/relay/names"
)

// A Record is the record of names in etcd, as one node has it, with the list of the nodes
// and their audit log. Make it with Open.
type Record struct {
	*etcd
	nodes Nodes
	audit Audit

	headKeyed, entryKey []byte // see derived

	stop    context.CancelFunc
	wg      sync.WaitGroup
	clock   clock
	queue   batch.Queue[edit]
	barrier barrier
	staged  staging
	keys    keys

	now    atomic.Pointer[state] // nil until it was read once
	opened chan struct{}         // closed when it was read once

	cloning sync.Mutex // of trees

	mu     sync.Mutex
	watch  []func(names.Table)
	others []func(names.Table, []byte)
	zone   string // of Begin; empty before
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
	r := newRecord(cfg)
	r.wg.Go(r.follow)
	r.nodes.wg.Go(r.nodes.follow)
	go r.audit.write()
	return r, nil
}

// newRecord is Open without anything begun.
func newRecord(cfg Config) *Record {
	ctx, stop := context.WithCancel(context.Background())
	e := &etcd{cfg: cfg, prefix: cfg.Prefix + "/", ctx: ctx, log: cfg.Logger, hurry: make(chan struct{}, 1), trouble: errNotYet}
	return &Record{
		etcd:      e,
		nodes:     Nodes{etcd: e, key: derived(cfg.Key, "node")},
		audit:     Audit{etcd: e, key: derived(cfg.Key, "audit"), lines: make(chan line, waitingAudit), ending: make(chan struct{}), written: make(chan struct{})},
		headKeyed: derived(cfg.Key, "head"),
		entryKey:  derived(cfg.Key, "entry"),
		stop:      stop,
		clock:     clock{wall: cfg.Now},
		staged:    staging{etcd: e},
		keys:      keys(e.prefix + "record/"),
		opened:    make(chan struct{}),
	}
}

// Nodes returns the list of the nodes.
func (r *Record) Nodes() *Nodes { return &r.nodes }

// Audit returns the audit log of all nodes.
func (r *Record) Audit() *Audit { return &r.audit }

// errNotYet says that etcd has not answered since the start.
var errNotYet = fmt.Errorf("%w: etcd has not answered yet", names.ErrClosed)

// ErrNone is wrapped by the error of Ready where there is no record, and none is to be
// made.
var ErrNone = fmt.Errorf("%w: there is none in etcd yet", names.ErrClosed)

// Close ends what Open has begun. Nobody uses the record meanwhile.
func (r *Record) Close() error {
	r.remember()
	r.audit.close()
	r.stop()
	r.wg.Wait()
	r.nodes.wg.Wait()
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
		trouble := r.why()
		if errors.Is(trouble, names.ErrDamaged) || errors.Is(trouble, ErrNone) {
			return trouble
		}
		select {
		case <-r.opened:
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
func (r *Record) Whole() error { return r.why() }

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
