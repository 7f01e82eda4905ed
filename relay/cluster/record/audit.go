package record

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxAudit is how many entries of the audit log etcd has; Upkeep takes the oldest
	// away.
	maxAudit = 20_000
	// waitingAudit is how many entries wait for etcd, at most.
	waitingAudit = 4096
	// auditBatch is how many entries are written at once.
	auditBatch = 64
)

// A line is an entry of the audit log on its way to etcd.
type line struct{ key, value string }

// An Audit is the audit log that all nodes of a relay share, in etcd beside the record.
// [Record.Audit] returns it.
type Audit struct {
	*etcd
	key             []byte        // of the MACs, see derived
	lines           chan line     // on their way to etcd
	ending, written chan struct{} // closed when close begins, and when all is written
	closing         sync.Once
}

// close waits until what is on its way is written, if etcd answers.
func (a *Audit) close() {
	a.closing.Do(func() { close(a.ending) })
	<-a.written
}

// Add adds an entry to the log, with its time. It does not wait for etcd: where that is
// away the entry waits, and is lost where more than some thousand do.
func (a *Audit) Add(at time.Time, entry []byte) {
	random := make([]byte, 4)
	rand.Read(random)
	key := auditAt(at) + hex.EncodeToString(random)
	select {
	case a.lines <- line{a.prefix + "audit/" + key, string(a.seal(key, entry)) + string(entry)}:
	default:
		if tell, _ := a.refusal.Failed(1); tell {
			a.log.Warn("too many entries of the audit log wait for etcd: this node's file has them, and the other nodes have not")
		}
	}
}

// auditAt sorts entries by their time.
func auditAt(at time.Time) string { return fmt.Sprintf("%016x", max(0, at.UnixNano())) }

func (a *Audit) seal(key string, entry []byte) []byte {
	m := hmac.New(sha256.New, a.key)
	fmt.Fprintf(m, "%s\x00", key)
	m.Write(entry)
	return m.Sum(nil)
}

// write writes what Add is given, until close, and then what waits, if etcd answers.
func (a *Audit) write() {
	defer close(a.written)
	for {
		var some []line
		select {
		case one := <-a.lines:
			some = append(a.waiting(auditBatch-1), one)
		case <-a.ending:
			if some = a.waiting(auditBatch); len(some) == 0 {
				return
			}
		}
		for !a.put(some) {
			select {
			case <-a.ending:
				return
			case <-time.After(againTime):
			}
		}
	}
}

// waiting takes up to n entries that wait.
func (a *Audit) waiting(n int) (some []line) {
	for len(some) < n {
		select {
		case one := <-a.lines:
			some = append(some, one)
		default:
			return some
		}
	}
	return some
}

func (a *Audit) put(list []line) (done bool) {
	c := a.client.Load()
	if c == nil || a.why() != nil {
		return false
	}
	ops := make([]clientv3.Op, len(list))
	for i, l := range list {
		ops[i] = clientv3.OpPut(l.key, l.value)
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.AnswerTime)
	defer cancel()
	if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
		_ = a.refused(err)
		return false
	}
	return true
}

// Last returns the last n entries of all nodes that are not older than since, the oldest
// first. What no node has written is left out.
func (a *Audit) Last(n int, since time.Time) (list [][]byte, err error) {
	c := a.client.Load()
	if c == nil {
		return nil, a.whyNot()
	}
	prefix := a.prefix + "audit/"
	from := prefix
	if !since.IsZero() {
		from += auditAt(since)
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.AnswerTime)
	defer cancel()
	resp, err := c.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(n)))
	if err != nil {
		return nil, a.refused(err)
	}
	for _, kv := range resp.Kvs {
		value := kv.GetValue()
		if len(value) < sha256.Size {
			continue
		}
		entry := value[sha256.Size:]
		if hmac.Equal(value[:sha256.Size], a.seal(string(kv.GetKey()[len(prefix):]), entry)) {
			list = append(list, bytes.Clone(entry))
		}
	}
	slices.Reverse(list)
	return list, nil
}

// sweep takes away the oldest entries where there are more than maxAudit.
func (a *Audit) sweep() error {
	ctx, cancel := context.WithTimeout(a.ctx, updateAnswers*a.cfg.AnswerTime)
	defer cancel()
	c, prefix := a.client.Load(), a.prefix+"audit/"
	all, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return a.refused(err)
	}
	for over := all.Count - maxAudit; over > 0 && err == nil; over -= pageSize {
		var oldest *clientv3.GetResponse
		oldest, err = c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(min(over, pageSize)))
		if err == nil && len(oldest.Kvs) > 0 {
			last := string(oldest.Kvs[len(oldest.Kvs)-1].GetKey())
			_, err = c.Delete(ctx, prefix, clientv3.WithRange(last+"\x00"))
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return a.refused(err)
	}
	return nil
}
