package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keystay/internal/hint"
	"keystay/relay/names"
)

// A flooded etcd has a head, and below each other prefix keys without an end.
type flooded struct {
	clientv3.KV
	head string
	size int   // of a value, in bytes
	most int64 // keys of one answer: more are too long
	read int64 // bytes of keys and values so far
}

func (f *flooded) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(key, opts...)
	resp := &clientv3.GetResponse{Header: &pb.ResponseHeader{Revision: 7}}
	if strings.HasSuffix(key, "/head") && len(op.RangeBytes()) == 0 {
		resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte(key), Value: []byte(f.head), ModRevision: 7})
		return resp, nil
	}
	if op.Limit() > f.most {
		return nil, status.Error(codes.ResourceExhausted, "larger than max")
	}
	for i := range op.Limit() {
		kv := &mvccpb.KeyValue{Key: fmt.Appendf(nil, "%s%08d", key, i), Value: make([]byte, f.size)}
		f.read += int64(len(kv.GetKey()) + len(kv.GetValue()))
		resp.Kvs = append(resp.Kvs, kv)
	}
	resp.More = true
	return resp, nil
}

// What others have written to etcd is read up to what a node may hold, by whole entries, by
// staged changes, and by values that are longer than an answer; then the record is damaged,
// and the log says what to do.
func TestNoMoreIsReadThanANodeMayHold(t *testing.T) {
	for what, f := range map[string]*flooded{
		"small entries":              {size: 10, most: pageSize},
		"large entries":              {size: 100 << 10, most: 64},
		"one that is too long alone": {size: 1, most: 0},
	} {
		r, first := testRecord(t)
		r.cfg.MaxBytes = 2 << 20
		f.head = first.head.write(r.headKeyed, first.sum)
		r.client.Store(&clientv3.Client{KV: f})
		_, err := r.load()
		if !errors.Is(err, names.ErrDamaged) || !strings.Contains(strings.Join(hint.All(err), "; "), "more memory") {
			t.Errorf("%s: %v", what, err)
		}
		if page := 64 * int64(f.size); f.read > r.cfg.MaxBytes+max(page, pageSize*cost(nil, nil)) {
			t.Errorf("%s: %d bytes were read", what, f.read)
		}
		f.read = 0
		if _, err := r.staged.read(t.Context(), "0123456789abcdef", 7); !errors.Is(err, names.ErrDamaged) {
			t.Errorf("%s, staged: %v", what, err)
		}
		if page := stagedSize * int64(f.size); f.read > r.cfg.MaxBytes+page {
			t.Errorf("%s, staged: %d bytes were read", what, f.read)
		}
	}
}

// A record that takes all the memory it may have takes no further entry, and fewer all the
// same: else no node could read it after its next start.
func TestNoMoreIsWrittenThanANodeMayHold(t *testing.T) {
	r, first := testRecord(t)
	table := names.Kept()[1]
	set := func(key string, value []byte) *queued {
		return &queued{Make: func(tx *tx, _ *head) error { return tx.Set(table, []byte(key), value) }}
	}
	entry := cost([]byte("a"), []byte("1"))
	r.cfg.MaxBytes = 2 * entry
	list := []*queued{set("a", []byte("1")), set("b", []byte("1")), set("c", []byte("1")), set("a", nil), set("d", []byte("1"))}
	d, _, n := r.make(first, list)
	if n != len(list) || d.size != 2*entry {
		t.Errorf("%d changes made %d bytes", n, d.size)
	}
	for i, c := range list {
		if full := errors.Is(c.Err, names.ErrClosed); full != (i == 2) || !full && c.Err != nil {
			t.Errorf("change %d: %v", i, c.Err)
		}
	}
	s := d.done(head{Seq: 2, Time: time.Now()}, 2)
	r.cfg.MaxBytes = entry // as after a start with less memory
	if d, _, _ = r.make(s, []*queued{set("b", nil)}); d.size != entry {
		t.Errorf("one that is too large can become no smaller: %d bytes", d.size)
	}
}
