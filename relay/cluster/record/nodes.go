package record

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/internal/hint"
)

const (
	// LeaseTime is how long a node that is gone stays in the list of the nodes.
	LeaseTime = 10 * time.Second
	// maxNode is how long the value of a node may be, in bytes.
	maxNode = 64 << 10
)

// A nodeList is the list of the nodes as it was read last. It is guarded by Record.mu.
type nodeList struct {
	known bool // it was read
	all   map[string][]byte
	hear  []func(map[string][]byte)
}

// sealNode returns what lies in etcd of a node: a MAC, so that nobody without the nodes'
// key adds one, and the value.
func (r *Record) sealNode(node string, value []byte) string {
	m := hmac.New(sha256.New, r.nodeKey)
	fmt.Fprintf(m, "%s\x00", node)
	m.Write(value)
	return string(m.Sum(nil)) + string(value)
}

// openNode is the reverse of sealNode; ok is false for what no node has written.
func (r *Record) openNode(node string, sealed []byte) (value []byte, ok bool) {
	if len(sealed) < sha256.Size || len(sealed) > sha256.Size+maxNode {
		return nil, false
	}
	value = sealed[sha256.Size:]
	return value, hmac.Equal([]byte(r.sealNode(node, value)), sealed)
}

// Announce keeps a node in the list of the nodes, with a value of at most 64 KiB, until
// ctx ends, and takes it out then; where the process dies it goes by itself after
// [LeaseTime]. Where etcd is away it begins again by itself. It returns when ctx ends or
// Close is called; the error is one of a value that is too long, or of a name that is empty
// or has a slash. Of two calls for one node at once the later one counts, and the end of
// the other takes nothing out: so a value is changed.
func (r *Record) Announce(ctx context.Context, node string, value []byte) error {
	if node == "" || strings.Contains(node, "/") || len(value) > maxNode {
		return fmt.Errorf("%q with %d bytes is no node", node, len(value))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	r.wg.Add(1) // so that Close does not cut off the last word
	defer r.wg.Done()
	for ctx.Err() == nil {
		if c := r.client.Load(); c != nil {
			r.lease(ctx, c, r.prefix+"nodes/"+node, r.sealNode(node, value))
		}
		pause(ctx, againTime)
	}
	return nil
}

// lease keeps a key by a lease, until ctx ends or the lease is lost.
func (r *Record) lease(ctx context.Context, c *clientv3.Client, key, value string) {
	one, cancel := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancel()
	lease, err := c.Grant(one, int64(LeaseTime/time.Second))
	if err != nil {
		return
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.AnswerTime)
		defer cancel()
		_, _ = c.Revoke(end, lease.ID) // or it ends by itself
	}()
	if _, err := c.Put(one, key, value, clientv3.WithLease(lease.ID)); err != nil {
		return
	}
	alive, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return
	}
	for range alive { // until it is lost, or ctx ends
	}
}

// Announced calls f with all nodes that are announced and their values, now and after
// each change; while etcd is away they stay. The first call may come later, when the list
// was read. f is called by one goroutine at a time, and changes nothing of the map.
func (r *Record) Announced(f func(map[string][]byte)) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	r.nodes.hear = append(r.nodes.hear, f)
	known, all := r.nodes.known, maps.Clone(r.nodes.all)
	r.mu.Unlock()
	if known {
		f(all)
	}
}

// setNodes notes the nodes, and tells those that listen.
func (r *Record) setNodes(all map[string][]byte) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	same := r.nodes.known && maps.EqualFunc(all, r.nodes.all, bytes.Equal)
	r.nodes.known, r.nodes.all = true, maps.Clone(all)
	hear := r.nodes.hear
	r.mu.Unlock()
	if same {
		return
	}
	for _, f := range hear {
		f(maps.Clone(all))
	}
}

// followNodes keeps the list of the nodes, until Close.
func (r *Record) followNodes() {
	for r.ctx.Err() == nil {
		if r.client.Load() != nil {
			// What else is wrong with etcd, follow tells.
			if err := r.watchNodes(); isLong(err) {
				if tell, _ := r.refusal.Failed(1); tell {
					r.log.Error("the list of the nodes in etcd is too long to be read", "err", err, hint.Attr(hint.RecordForeign.Do))
				}
			}
		}
		pause(r.ctx, againTime)
	}
}

// watchNodes follows the list of the nodes, until that fails.
func (r *Record) watchNodes() error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	prefix := r.prefix + "nodes/"
	one, cancelOne := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancelOne()
	c := r.client.Load()
	first, err := c.Get(one, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	all := make(map[string][]byte)
	put := func(key, sealed []byte) {
		node := string(key[len(prefix):])
		delete(all, node)
		if value, ok := r.openNode(node, sealed); ok {
			all[node] = value
		}
	}
	for _, kv := range first.Kvs {
		put(kv.GetKey(), kv.GetValue())
	}
	r.setNodes(all)
	for resp := range c.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(first.Header.GetRevision()+1)) {
		if resp.Err() != nil {
			return resp.Err()
		}
		for _, e := range resp.Events {
			put(e.GetKv().GetKey(), e.GetKv().GetValue()) // one that is gone has no value
		}
		r.setNodes(all)
	}
	return errors.New("the watch of the nodes has ended")
}
