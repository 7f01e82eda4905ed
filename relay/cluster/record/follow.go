package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/internal/hint"
	"keystay/relay/names"
)

const (
	// pageSize is how many entries are read at once, and stagedSize how many parts of what
	// is staged.
	pageSize, stagedSize = 4096, 16
	// entryCost is what an entry takes of memory beside its key and its value, with what
	// follows from it, in bytes.
	entryCost = 512
	// loadTime is how long it may take to read all of the record.
	loadTime = 2 * time.Minute
	// stagedTime is how long it may take to make what is staged entries.
	stagedTime = 10 * time.Minute
	// againTime is the time between attempts to read the record.
	againTime = 500 * time.Millisecond
	// goneTime is that where nothing was wrong.
	goneTime = 20 * time.Millisecond
	// damagedTime is that between attempts to read one that is damaged and does not
	// change.
	damagedTime = 10 * time.Second
)

// errGone says that the watch of the record has ended.
var errGone = errors.New("the watch has ended")

// follow keeps this node's copy of the record, until Close.
func (r *Record) follow() {
	for r.ctx.Err() == nil {
		err := r.connect()
		var rev int64
		if err == nil {
			rev, err = r.load()
		}
		if err == nil {
			err = r.watchRecord(rev + 1)
		}
		wait := againTime
		switch {
		case r.ctx.Err() != nil:
			return
		case errors.Is(err, names.ErrDamaged):
			r.fault(err)
			r.awaitChange()
		case errors.Is(err, ErrNone):
			r.fault(err)
		case errors.Is(err, errGone): // it may be another member's turn, which is no trouble
			wait = goneTime
		default:
			_ = r.gone(err)
		}
		pause(r.ctx, wait)
	}
}

// awaitChange waits until somebody has changed the record in etcd, for damagedTime at
// most.
func (r *Record) awaitChange() {
	ctx, cancel := context.WithTimeout(r.ctx, damagedTime)
	defer cancel()
	for resp := range r.client.Load().Watch(ctx, string(r.keys), clientv3.WithPrefix()) {
		if len(resp.Events) > 0 {
			return
		}
	}
}

// connect makes the client, once. Where etcd asks for a password it has to answer.
func (e *etcd) connect() error {
	if e.client.Load() != nil {
		return nil
	}
	c, err := e.cfg.client(e.ctx)
	if err == nil {
		e.client.Store(c)
	}
	return err
}

// readAll reads all below a prefix, as of a revision, page keys at once or fewer. Nothing of
// it is checked yet: so it reads no more than MaxBytes.
func (e *etcd) readAll(ctx context.Context, prefix string, rev, page int64) (all []*mvccpb.KeyValue, err error) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	left := e.cfg.MaxBytes
	for from := prefix; ; {
		one, cancel := context.WithTimeout(ctx, 5*e.cfg.AnswerTime)
		resp, err := e.client.Load().Get(one, from, clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(page), clientv3.WithSerializable())
		cancel()
		switch {
		case isLong(err) && page > 1:
			page = max(1, page/8)
			continue
		case isLong(err):
			return nil, e.tooLarge()
		case err != nil:
			return nil, err
		}
		for _, kv := range resp.Kvs {
			left -= cost(kv.GetKey(), kv.GetValue())
		}
		if left < 0 {
			return nil, e.tooLarge()
		}
		all = append(all, resp.Kvs...)
		if !resp.More || len(resp.Kvs) == 0 {
			return all, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].GetKey()) + "\x00"
	}
}

// cost is how much memory an entry takes, in bytes.
func cost(key, value []byte) int64 { return int64(len(key) + len(value) + entryCost) }

// tooLarge says that what is in etcd takes more than MaxBytes.
func (e *etcd) tooLarge() error { return e.large(names.ErrDamaged, "what is in etcd") }

// full says that a change would make the record take more than MaxBytes.
func (r *Record) full() error {
	err := r.large(names.ErrClosed, "with one entry more it")
	if tell, _ := r.refusal.Failed(1); tell {
		r.log.Error("the record of names takes no more", "err", err, hint.Attr(hint.All(err)))
	}
	return err
}

func (e *etcd) large(kind error, what string) error {
	return hint.RecordLarge.Error(fmt.Errorf("%w: %s takes more than the %d MiB of memory that this node has for it", kind, what, e.cfg.MaxBytes>>20))
}

// load reads all of the record, as of a revision of etcd.
func (r *Record) load() (rev int64, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, loadTime)
	defer cancel()
	least, err := r.least() // before it is read: this node may write meanwhile
	if err != nil {
		return 0, err
	}
	one, cancelOne := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancelOne()
	first, err := r.client.Load().Get(one, r.keys.head()) // of what a majority has
	if err != nil {
		return 0, err
	}
	if len(first.Kvs) == 0 && r.cfg.NoNew {
		return 0, ErrNone
	}
	if len(first.Kvs) == 0 {
		if err := r.create(ctx, first.Header.GetRevision(), least); err != nil {
			return 0, err
		}
		return 0, errGone // now there is one
	}
	rev = first.Header.GetRevision()
	kvs, err := r.readAll(ctx, string(r.keys), rev, pageSize)
	if err != nil {
		return 0, err
	}
	next, err := r.build(ctx, kvs, rev)
	if err == nil {
		err = r.checkAge(next.head, least)
	}
	if err == nil {
		err = r.checkZone(next.head)
	}
	if err != nil {
		return 0, err
	}
	r.well()
	if r.publish(next) {
		r.remember()
		all := names.Kept()
		r.tell(all)
		for _, t := range all {
			r.tellElsewhere([]change{{table: t}})
		}
		close(next.told)
	}
	return rev, nil
}

// build makes a state of all that lies in etcd.
func (r *Record) build(ctx context.Context, kvs []*mvccpb.KeyValue, rev int64) (*state, error) {
	d := r.draft(emptyState())
	for t := range d.tables {
		d.own[t] = true
	}
	var h head
	var headRev int64
	for _, kv := range kvs {
		t, key, ok := r.keys.entryOf(kv.GetKey())
		if !ok {
			err := r.keys.isHead(kv.GetKey())
			if err != nil {
				return nil, err
			}
			if h, err = readHead(kv.GetValue()); err != nil {
				return nil, err
			}
			headRev = kv.GetModRevision()
			continue
		}
		if err := d.set(change{t, key, present(kv.GetValue())}); err != nil {
			return nil, err
		}
		d.changes = d.changes[:0]
	}
	if h.Staged != "" {
		list, err := r.staged.read(ctx, h.Staged, rev)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if err := d.set(c); err != nil {
				return nil, err
			}
		}
	}
	if err := d.verify(r.headKeyed, h); err != nil {
		return nil, err
	}
	return d.done(h, headRev), nil
}

// present returns a value that is there, even if it is empty.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// create makes a record where there was none as of a revision, or says why not.
func (r *Record) create(ctx context.Context, rev int64, least uint64) error {
	one, cancel := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancel()
	some, err := r.client.Load().Get(one, string(r.keys), clientv3.WithPrefix(), clientv3.WithRev(rev), clientv3.WithLimit(1))
	switch {
	case err != nil:
		return err
	case len(some.Kvs) > 0:
		return foreign("its head is missing from etcd")
	}
	if err := r.checkAge(head{}, least); err != nil {
		return err
	}
	h := head{Seq: 1, Time: r.cfg.Time.UTC().Truncate(time.Second)}
	_, err = r.client.Load().Txn(one).If(clientv3.Compare(clientv3.CreateRevision(r.keys.head()), "=", 0)).
		Then(clientv3.OpPut(r.keys.head(), h.write(r.headKeyed, sum{}))).Commit()
	return err
}

// watchRecord follows the changes of the record from a revision on, until that fails. It
// returns errGone where nothing is wrong with the record.
func (r *Record) watchRecord(from int64) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.wg.Go(func() { r.attend(ctx, cancel) })
	for resp := range r.client.Load().Watch(clientv3.WithRequireLeader(ctx), string(r.keys), clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if resp.Err() != nil {
			return errGone
		}
		for events := resp.Events; len(events) > 0; {
			rev, n := events[0].GetKv().GetModRevision(), 1
			for n < len(events) && events[n].GetKv().GetModRevision() == rev {
				n++
			}
			if err := r.advance(ctx, rev, events[:n]); err != nil {
				return err
			}
			events = events[n:]
		}
	}
	return errGone
}

// advance makes the state that one transaction of etcd has led to. Each of this relay's
// writes the head, too; what else happens to the record is none of its nodes' doing.
func (r *Record) advance(ctx context.Context, rev int64, events []*clientv3.Event) error {
	var h head
	var list []change
	for _, e := range events {
		kv := e.GetKv()
		t, key, ok := r.keys.entryOf(kv.GetKey())
		deleted := e.GetType() == clientv3.EventTypeDelete
		switch {
		case ok && deleted:
			list = append(list, change{table: t, key: key})
		case ok:
			list = append(list, change{t, key, present(kv.GetValue())})
		case deleted:
			return foreign("its head is gone from etcd")
		default:
			err := r.keys.isHead(kv.GetKey())
			if err != nil {
				return err
			}
			if h, err = readHead(kv.GetValue()); err != nil {
				return err
			}
		}
	}
	s := r.now.Load()
	switch {
	case h.Seq == 0:
		return foreign("somebody without the nodes' key has changed it in etcd")
	case rev <= s.rev:
		return nil // this node's own, or older than what it has read
	case h.Seq != s.head.Seq && h.Seq != s.head.Seq+1:
		return errGone // it is to be read anew
	}
	if h.Staged != "" && h.Staged != s.head.Staged {
		more, err := r.staged.read(ctx, h.Staged, rev)
		if err != nil {
			return errGone
		}
		list = append(more, list...)
	}
	d := r.draft(s)
	for _, c := range list {
		if err := d.set(c); err != nil {
			return err
		}
	}
	if err := d.verify(r.headKeyed, h); err != nil {
		if r.now.Load() != s { // this node's own transaction came between
			return r.advance(ctx, rev, events)
		}
		return err
	}
	next := d.done(h, rev)
	if r.publish(next) {
		if len(d.changes) > 0 {
			r.tell(changed(d.changes))
			r.tellElsewhere(d.changes)
		}
		close(next.told)
	}
	return nil
}
