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
	"sync"
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

// Nodes is the list of the nodes of a relay, in etcd beside the record. [Record.Nodes]
// returns it.
type Nodes struct {
	*etcd
	key []byte // of the MACs, see derived
	wg  sync.WaitGroup

	telling sync.Mutex // one call at a time

	mu    sync.Mutex
	known bool // all was read
	all   map[string][]byte
	hear  []func(map[string][]byte)
}

// seal returns what lies in etcd of a node: a MAC, so that nobody without the nodes'
// key adds one, and the value.
func (n *Nodes) seal(node string, value []byte) string {
	m := hmac.New(sha256.New, n.key)
	fmt.Fprintf(m, "%s\x00", node)
	m.Write(value)
	return string(m.Sum(nil)) + string(value)
}

// open is the reverse of seal; ok is false for what no node has written.
func (n *Nodes) open(node string, sealed []byte) (value []byte, ok bool) {
	if len(sealed) < sha256.Size || len(sealed) > sha256.Size+maxNode {
		return nil, false
	}
	value = sealed[sha256.Size:]
	return value, hmac.Equal([]byte(n.seal(node, value)), sealed)
}

// Announce keeps a node in the list of the nodes, with a value of at most 64 KiB, until
// ctx ends, and takes it out then; where the process dies it goes by itself after
// [LeaseTime]. Where etcd is away it begins again by itself. It returns when ctx ends or
// Close is called; the error is one of a value that is too long, or of a name that is empty
// or has a slash. Of two calls for one node at once the later one counts, and the end of
// the other takes nothing out: so a value is changed.
func (n *Nodes) Announce(ctx context.Context, node string, value []byte) error {
	if node == "" || strings.Contains(node, "/") || len(value) > maxNode {
		return fmt.Errorf("%q with %d bytes is no node", node, len(value))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	n.wg.Add(1) // so that Close does not cut off the last word
	defer n.wg.Done()
	for ctx.Err() == nil {
		if c := n.client.Load(); c != nil {
			n.lease(ctx, c, n.prefix+"nodes/"+node, n.seal(node, value))
		}
		pause(ctx, againTime)
	}
	return nil
}

// lease keeps a key by a lease, until ctx ends or the lease is lost.
func (n *Nodes) lease(ctx context.Context, c *clientv3.Client, key, value string) {
	one, cancel := context.WithTimeout(ctx, n.cfg.AnswerTime)
	defer cancel()
	lease, err := c.Grant(one, int64(LeaseTime/time.Second))
	if err != nil {
		return
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.AnswerTime)
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
func (n *Nodes) Announced(f func(map[string][]byte)) {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	n.hear = append(n.hear, f)
	known, all := n.known, maps.Clone(n.all)
	n.mu.Unlock()
	if known {
		f(all)
	}
}

// set notes the nodes, and tells those that listen.
func (n *Nodes) set(all map[string][]byte) {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	same := n.known && maps.EqualFunc(all, n.all, bytes.Equal)
	n.known, n.all = true, maps.Clone(all)
	hear := n.hear
	n.mu.Unlock()
	if same {
		return
	}
	for _, f := range hear {
		f(maps.Clone(all))
	}
}

// follow keeps the list of the nodes, until Close.
func (n *Nodes) follow() {
	for n.ctx.Err() == nil {
		if n.client.Load() != nil {
			// What else is wrong with etcd, the record tells.
			if err := n.watch(); isLong(err) {
				if tell, _ := n.refusal.Failed(1); tell {
					n.log.Error("the list of the nodes in etcd is too long to be read", "err", err, hint.Attr(hint.RecordForeign.Do))
				}
			}
		}
		pause(n.ctx, againTime)
	}
}

// watch follows the list of the nodes, until that fails.
func (n *Nodes) watch() error {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	prefix := n.prefix + "nodes/"
	one, cancelOne := context.WithTimeout(ctx, n.cfg.AnswerTime)
	defer cancelOne()
	c := n.client.Load()
	first, err := c.Get(one, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	all := make(map[string][]byte)
	put := func(key, sealed []byte) {
		node := string(key[len(prefix):])
		delete(all, node)
		if value, ok := n.open(node, sealed); ok {
			all[node] = value
		}
	}
	for _, kv := range first.Kvs {
		put(kv.GetKey(), kv.GetValue())
	}
	n.set(all)
	for resp := range c.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(first.Header.GetRevision()+1)) {
		if resp.Err() != nil {
			return resp.Err()
		}
		for _, e := range resp.Events {
			put(e.GetKv().GetKey(), e.GetKv().GetValue()) // one that is gone has no value
		}
		n.set(all)
	}
	return errors.New("the watch of the nodes has ended")
}
