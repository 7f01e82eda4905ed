package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"keystay/e2e/internal/world"
)

// A nodesLoad is what visitors do at all nodes while these come and go.
type nodesLoad struct {
	c        *cluster
	name     string // of a device with the takeover's site behind it
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup
	short    atomic.Int64 // requests that went well, by kind
	long     atomic.Int64
	idle     atomic.Int64
	mu       sync.Mutex
	failures []error
}

// load begins, at each node.
func (c *cluster) load(name string) *nodesLoad {
	v := &nodesLoad{c: c, name: name}
	v.ctx, v.stop = context.WithCancel(context.Background())
	for node := range c.nodes {
		fresh := c.transport(node)
		fresh.DisableKeepAlives = true
		v.repeat(fmt.Sprintf("a short request at node %d", node), &v.short, func() error { return v.fetch(v.ctx, fresh, rand.Int64N(20_000), 0) })
		v.repeat(fmt.Sprintf("a long download at node %d", node), &v.long, func() error {
			return v.fetch(context.Background(), fresh, 512<<10+rand.Int64N(256<<10), 50*time.Millisecond)
		})
		v.idleThenActive(node)
	}
	return v
}

// end begins nothing any more, waits for what is under way, and says what has failed.
func (v *nodesLoad) end() []error {
	v.stop()
	v.wg.Wait()
	return v.failures
}

func (v *nodesLoad) failed(what string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = append(v.failures, fmt.Errorf("%s %s: %w", time.Now().Format("15:04:05.000"), what, err))
}

// failures so far.
func (v *nodesLoad) bad() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.failures)
}

// repeat does something until no more is begun. What is under way then may fail.
func (v *nodesLoad) repeat(what string, count *atomic.Int64, f func() error) {
	v.wg.Go(func() {
		for v.ctx.Err() == nil {
			if err := f(); err != nil {
				if !errors.Is(err, context.Canceled) {
					v.failed(what, err)
				}
				return
			}
			count.Add(1)
		}
	})
}

// idleThenActive uses one connection for all the time, now and then.
func (v *nodesLoad) idleThenActive(node int) {
	tr := v.c.transport(node)
	tr.MaxConnsPerHost = 1
	var cut cuts
	cut.watch(tr)
	v.repeat(fmt.Sprintf("idle, then active at node %d", node), &v.idle, func() error {
		err := v.fetch(context.Background(), tr, rand.Int64N(20_000), 0)
		if err == nil && cut.Load() > 0 {
			err = errors.New("the connection had been cut")
		}
		select {
		case <-v.ctx.Done():
			tr.CloseIdleConnections()
		case <-time.After(500*time.Millisecond + rand.N(time.Second)):
		}
		return err
	})
}

// transport reaches names at a node.
func (c *cluster) transport(node int) *http.Transport {
	return &http.Transport{
		TLSHandshakeTimeout: world.Patience, ResponseHeaderTimeout: world.Patience,
		TLSClientConfig: &tls.Config{RootCAs: c.ca.Pool()},
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return c.g.Dial(visitorsAt, c.address(node)) },
	}
}

// fetch gets n bytes and checks them.
func (v *nodesLoad) fetch(ctx context.Context, tr *http.Transport, n int64, pause time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://%s/?n=%d&pause=%v", v.name, n, pause), nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := hash(resp.Body)
	if err != nil {
		return err
	}
	if want, _ := hash(body(n)); resp.StatusCode != http.StatusOK || got != want {
		return fmt.Errorf("%s, and the hash is wrong", resp.Status)
	}
	return nil
}
