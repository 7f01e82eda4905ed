package record

import (
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
