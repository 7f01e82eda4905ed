package record

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/relay/names"
)

// Etcd answers that more was written than the watch brings: whoever asks hears that the record
// may be old, so that nothing is denied for good by it.
func TestRecordThatIsBehindSaysSo(t *testing.T) {
	r, first := testRecord(t)
	r.cfg.AnswerTime = 50 * time.Millisecond
	r.client.Store(&clientv3.Client{KV: &flooded{head: first.head.write(r.headKeyed, first.sum)}})
	if err := r.Fresh(t.Context()); !errors.Is(err, names.ErrClosed) {
		t.Errorf("of revision %d where etcd has more: %v", r.now.Load().rev, err)
	}
}

// What changes nothing waits for what others have written, too: a node that is behind says of no
// name that it is not the device's that gives it back, and of no ban that there is none.
func TestRecordThatIsBehindSaysNothingOfWhatItLacks(t *testing.T) {
	r, first := testRecord(t)
	r.cfg.AnswerTime = 50 * time.Millisecond
	next := r.draft(first).done(head{Seq: 2, Time: first.head.Time}, 7)
	close(next.told)
	r.client.Store(&clientv3.Client{KV: &flooded{head: next.head.write(r.headKeyed, next.sum)}})
	n := &names.Names{Grants: r}
	var d *names.Denied
	for _, behind := range []bool{true, false} {
		if !behind {
			r.trouble = nil
			r.publish(next)
		}
		release := names.Sure(t.Context(), n, func() error { return n.Release("a.relay.test", bytes.Repeat([]byte{7}, 32)) })
		if errors.As(release, &d) == behind || errors.Is(release, names.ErrClosed) != behind {
			t.Errorf("behind is %v, and a name is given back: %v", behind, release)
		}
		if behind {
			r.trouble = nil // it has noted that its changes do not come
		}
		lift := n.Unban(names.BanName, "a.relay.test")
		if errors.Is(lift, names.ErrNone) == behind || errors.Is(lift, names.ErrClosed) != behind {
			t.Errorf("behind is %v, and a ban is lifted: %v", behind, lift)
		}
	}
}

// A counted counts what etcd is asked for one key.
type counted struct {
	flooded
	gets int
}

func (c *counted) Get(ctx context.Context, key string, _ ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	c.gets++
	return c.flooded.Get(ctx, key)
}

// Who gives back what is not his holds up nobody who writes: etcd is asked nothing in the order
// of those.
func TestReleaseOfAnothersNameWaitsInNoLine(t *testing.T) {
	r, first := testRecord(t)
	etcd := &counted{flooded: flooded{head: first.head.write(r.headKeyed, first.sum)}}
	r.client.Store(&clientv3.Client{KV: etcd})
	n := &names.Names{Grants: r}
	var d *names.Denied
	if err := n.Release("a.relay.test", bytes.Repeat([]byte{7}, 32)); !errors.As(err, &d) || etcd.gets > 0 {
		t.Errorf("%v, and etcd was asked %d times", err, etcd.gets)
	}
}

// An etcd that has an older record than this node, as one that was restored under it, is asked
// once by what changes nothing: there is nothing newer to wait for.
func TestOlderRecordOfEtcdIsAskedForOnce(t *testing.T) {
	r, first := testRecord(t)
	etcd := &counted{flooded: flooded{head: first.head.write(r.headKeyed, first.sum)}}
	next := r.draft(first).done(head{Seq: 2, Time: first.head.Time}, 1<<40)
	close(next.told)
	r.publish(next)
	r.client.Store(&clientv3.Client{KV: etcd})
	n := &names.Names{Grants: r}
	if err := n.Unban(names.BanName, "a.relay.test"); !errors.Is(err, names.ErrNone) || etcd.gets != 1 {
		t.Errorf("%v, and etcd was asked %d times", err, etcd.gets)
	}
}
