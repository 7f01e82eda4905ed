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

// AddAudit adds an entry to the audit log that all nodes share, with its time. It does
// not wait for etcd: where that is away the entry waits, and is lost where more than some
// thousand do.
func (r *Record) AddAudit(at time.Time, entry []byte) {
	random := make([]byte, 4)
	rand.Read(random)
	key := auditAt(at) + hex.EncodeToString(random)
	select {
	case r.audit <- line{r.prefix + "audit/" + key, string(r.sealAudit(key, entry)) + string(entry)}:
	default:
		if tell, _ := r.refusal.Failed(1); tell {
			r.log.Warn("too many entries of the audit log wait for etcd: this node's file has them, and the other nodes have not")
		}
	}
}

// auditAt sorts entries by their time.
func auditAt(at time.Time) string { return fmt.Sprintf("%016x", max(0, at.UnixNano())) }

func (r *Record) sealAudit(key string, entry []byte) []byte {
	m := hmac.New(sha256.New, r.auditKey)
	fmt.Fprintf(m, "%s\x00", key)
	m.Write(entry)
	return m.Sum(nil)
}

// writeAudit writes what AddAudit is given, until Close, and then what waits, if etcd
// answers.
func (r *Record) writeAudit() {
	defer close(r.audited)
	for {
		var some []line
		select {
		case one := <-r.audit:
			some = append(r.waiting(auditBatch-1), one)
		case <-r.ending:
			if some = r.waiting(auditBatch); len(some) == 0 {
				return
			}
		}
		for !r.putAudit(some) {
			select {
			case <-r.ending:
				return
			case <-time.After(againTime):
			}
		}
	}
}

// waiting takes up to n entries that wait.
func (r *Record) waiting(n int) (some []line) {
	for len(some) < n {
		select {
		case one := <-r.audit:
			some = append(some, one)
		default:
			return some
		}
	}
	return some
}

func (r *Record) putAudit(list []line) (done bool) {
	c := r.client.Load()
	if c == nil || r.usable() != nil {
		return false
	}
	ops := make([]clientv3.Op, len(list))
	for i, l := range list {
		ops[i] = clientv3.OpPut(l.key, l.value)
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.AnswerTime)
	defer cancel()
	if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
		_ = r.refused(err)
		return false
	}
	return true
}

// LastAudit returns the last n entries of the audit log of all nodes that are not older
// than since, the oldest first. What no node has written is left out.
func (r *Record) LastAudit(n int, since time.Time) (list [][]byte, err error) {
	c := r.client.Load()
	if c == nil {
		return nil, r.whyNot()
	}
	prefix := r.prefix + "audit/"
	from := prefix
	if !since.IsZero() {
		from += auditAt(since)
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.AnswerTime)
	defer cancel()
	resp, err := c.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(n)))
	if err != nil {
		return nil, r.refused(err)
	}
	for _, kv := range resp.Kvs {
		value := kv.GetValue()
		if len(value) < sha256.Size {
			continue
		}
		entry := value[sha256.Size:]
		if hmac.Equal(value[:sha256.Size], r.sealAudit(string(kv.GetKey()[len(prefix):]), entry)) {
			list = append(list, bytes.Clone(entry))
		}
	}
	slices.Reverse(list)
	return list, nil
}

// sweepAudit takes away the oldest entries where there are more than maxAudit.
func (r *Record) sweepAudit() error {
	ctx, cancel := context.WithTimeout(r.ctx, updateAnswers*r.cfg.AnswerTime)
	defer cancel()
	c, prefix := r.client.Load(), r.prefix+"audit/"
	all, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return r.refused(err)
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
		return r.refused(err)
	}
	return nil
}
