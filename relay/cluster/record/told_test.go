package record

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/relay/names"
)

// What watches a table, such as the bans that claims are looked at by, has heard of a
// change before anything is decided upon it: not only before View shows it.
func TestNothingIsDecidedBeforeThoseWhoWatchHaveHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, first := testRecord(t)
		ban := change{table: names.Kept()[1], key: []byte("name a.relay.test"), value: []byte("{}")}
		d := r.draft(first)
		if err := d.set(ban); err != nil {
			t.Fatal(err)
		}
		h := head{Seq: 2, Time: time.Now()}
		events := []*clientv3.Event{
			putAt2(r.keys.entry(ban.table, ban.key), string(ban.value)), putAt2(r.keys.head(), h.write(r.headKeyed, d.sum)),
		}
		hears, heard := make(chan struct{}), false
		r.Watch(func(names.Table) { <-hears; heard = true })
		go func() {
			if err := r.advance(r.ctx, 2, events); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		go func() {
			if s, err := r.writable(); err != nil || s.rev != 2 || !heard {
				t.Errorf("a transaction begins on %v, %v; those who watch have heard: %v", s.rev, err, heard)
			}
		}()
		synctest.Wait()
		close(hears)
		synctest.Wait()
	})
}

// A copy of the head beside it is not taken for the head: no transaction would find etcd
// as this node knows it any more, and nothing would say why.
func TestHeadIsAtItsOwnKeyAlone(t *testing.T) {
	r, first := testRecord(t)
	copied := first.head.write(r.headKeyed, first.sum)
	err := r.advance(t.Context(), 2, []*clientv3.Event{putAt2(string(r.keys)+"zzz", copied)})
	if !errors.Is(err, names.ErrDamaged) || r.now.Load() != first {
		t.Errorf("%v", err)
	}
	_, err = r.build(t.Context(), []*mvccpb.KeyValue{
		{Key: []byte(r.keys.head()), Value: []byte(copied), ModRevision: 1}, {Key: []byte(r.prefix + "record/zzz"), Value: []byte(copied), ModRevision: 2},
	}, 2)
	if !errors.Is(err, names.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// testRecord is a record that was read once, and what it was then. It has no etcd.
func testRecord(t *testing.T) (*Record, *state) {
	t.Helper()
	key := bytes.Repeat([]byte{1}, KeySize)
	cfg := Config{Endpoints: []string{"http://etcd.test:2379"}, Key: key}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	r := newRecord(cfg)
	t.Cleanup(r.stop)
	r.trouble = nil
	first := r.draft(emptyState()).done(head{Seq: 1, Time: time.Now()}, 1)
	r.publish(first)
	close(first.told)
	return r, first
}

func putAt2(key, value string) *clientv3.Event {
	return &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: 2}}
}
