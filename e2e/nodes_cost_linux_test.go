package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/fleet/costs"
	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// costsVariable is the file that TestWhatNodesCost writes.
const costsVariable = "KEYSTAY_COSTS"

// What things cost on three real nodes, for the simulation of more of them (package
// fleet). It judges nothing.
func TestWhatNodesCost(t *testing.T) {
	file := os.Getenv(costsVariable)
	if file == "" {
		t.Skip("it measures, which takes some minutes and a quiet machine: with " + costsVariable + "=FILE")
	}
	c := newCluster(t)
	for node := range c.nodes {
		c.sees(node, 2)
	}
	m := &measured{cluster: c}
	m.rest()
	m.newNames()
	m.links()
	m.snapshot()
	m.record()
	text, err := json.MarshalIndent(m.Costs, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// measured is what was measured so far.
type measured struct {
	*cluster
	costs.Costs
	keys  []ed25519.PrivateKey // of the names
	alive []*framing.Link
}

const (
	// costNames are measured, each with a link of its own device, and costRecord in the
	// record alone.
	costNames  = 4_000
	costRecord = 50_000
	settling   = 10 * time.Second
)

// between is what was carried from some machines to another one.
func (m *measured) between(to int, from ...int) (bytes float64) {
	for _, f := range from {
		bytes += float64(m.g.Bytes(f, to))
	}
	return bytes
}

// rest measures what goes on while nothing does.
func (m *measured) rest() {
	<-time.After(settling)
	const seconds = 30
	beats, etcd := m.between(1, 0), m.between(0, 3, 4, 5)+m.between(3, 0)+m.between(4, 0)+m.between(5, 0)
	<-time.After(seconds * time.Second)
	m.Beat = (m.between(1, 0) - beats) / seconds
	m.Etcd = (m.between(0, 3, 4, 5) + m.between(3, 0) + m.between(4, 0) + m.between(5, 0) - etcd) / seconds
}

func costName(i int) string { return fmt.Sprintf("device%d.%s", i, world.Zone) }

// newNames has devices get names that nobody has.
func (m *measured) newNames() {
	ctx := context.Background()
	for range costNames {
		m.keys = append(m.keys, newKey())
	}
	held := m.kept()
	told := m.between(2, 3, 4, 5) + m.between(3, 2) + m.between(4, 2) + m.between(5, 2)
	const alone = 200 // one after the other
	var took time.Duration
	for i := range alone {
		l, err := m.link(ctx, 0, m.keys[i])
		if err != nil {
			m.t.Fatal(err)
		}
		start := time.Now()
		if _, err := l.Claim(ctx, framing.Claim{Name: costName(i)}); err != nil {
			m.t.Fatal(err)
		}
		took += time.Since(start)
		l.Close()
	}
	m.Grant = took / alone
	<-time.After(time.Second)
	m.Watch = (m.between(2, 3, 4, 5) + m.between(3, 2) + m.between(4, 2) + m.between(5, 2) - told) / alone
	start := time.Now()
	m.each(alone, costNames, func(i int) error {
		l, err := m.link(ctx, i%nodesOf3, m.keys[i])
		if err != nil {
			return err
		}
		defer l.Close()
		_, err = l.Claim(ctx, framing.Claim{Name: costName(i)})
		return err
	})
	m.Grants = float64(costNames-alone) / time.Since(start).Seconds()
	m.Kept = (m.kept() - held) / costNames
}

// kept is how many bytes the record has in etcd.
func (m *measured) kept() (bytes float64) {
	got, err := m.root.Get(context.Background(), "keystay/record/", clientv3.WithPrefix())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, kv := range got.Kvs {
		bytes += float64(len(kv.Key) + len(kv.Value))
	}
	return bytes
}

// each does something for each number from one to before another one, 16 at once.
func (m *measured) each(from, to int, f func(i int) error) {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	for i := from; i < to; i++ {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := f(i); err != nil {
				m.t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// links has all devices link to node 0, and stay there: the first of them one after the
// other.
func (m *measured) links() {
	ctx := context.Background()
	m.alive = make([]*framing.Link, costNames)
	m.t.Cleanup(func() {
		for _, l := range m.alive {
			if l != nil {
				l.Close()
			}
		}
	})
	up := func(i int) error {
		l, err := m.link(ctx, 0, m.keys[i])
		if err != nil {
			return err
		}
		m.alive[i] = l
		_, err = l.Claim(ctx, framing.Claim{Name: costName(i)})
		return err
	}
	const alone = 100
	<-time.After(settling)
	told, start := m.between(1, 0), time.Now()
	for i := range alone {
		if err := up(i); err != nil {
			m.t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	m.Change = (m.between(1, 0) - told - m.Beat*time.Since(start).Seconds()) / alone
	<-time.After(settling)
	cpu, other, here, there := m.used(0), m.used(1), m.resident(0), m.resident(1)
	m.each(alone, costNames, up)
	m.LinkTime = (m.used(0) - cpu) / (costNames - alone)
	m.EntryTime = (m.used(1) - other) / (costNames - alone)
	<-time.After(2 * settling)
	m.LinkMemory = (m.resident(0) - here) / (costNames - alone)
	m.EntryMemory = max(0, m.resident(1)-there) / (costNames - alone)
}

// snapshot starts node 2 anew, which is told of all.
func (m *measured) snapshot() {
	m.nodes[2].Kill()
	told := m.between(2, 0)
	m.nodes[2].Start()
	m.sees(2, 2)
	<-time.After(2 * time.Second)
	m.Entry = (m.between(2, 0) - told - 3*m.Beat) / costNames
}

// record fills the record, and starts node 2 anew.
func (m *measured) record() {
	before := m.started()
	ca := m.ca.Pool()
	r, err := record.Open(record.Config{Endpoints: m.etcd.Forwards(visitorsAt), TLS: &tls.Config{RootCAs: ca}, Username: etcdUser, Password: etcdPassword, Key: []byte(strings.Repeat("k", record.KeySize))})
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	if err := r.Ready(ctx); err != nil {
		m.t.Fatal(err)
	}
	for from := 0; from < costRecord; from += 5_000 {
		if err := r.Update(func(tx names.Tx) error {
			for i := from; i < from+5_000; i++ {
				value := fmt.Appendf(nil, `{"key":"%043d=","since":"2026-11-01T12:00:00Z","seen":"2026-11-%02dT12:00:00Z","token":"0123456789abcdef"}`, i, 1+i%28)
				if err := tx.Set(names.Kept()[0], fmt.Appendf(nil, "away%d.%s", i, world.Zone), value); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	after := m.started()
	m.RecordMemory = (after.memory - before.memory) / costRecord
	m.RecordTime = (after.cpu - before.cpu) / costRecord
}

// A needed is what a node has used some time after its start.
type needed struct {
	memory float64
	cpu    time.Duration
}

// started starts node 2 anew.
func (m *measured) started() needed {
	m.nodes[2].Kill()
	m.nodes[2].Start()
	<-time.After(settling)
	return needed{m.resident(2), m.used(2)}
}

// used is the processor time of a node.
func (m *measured) used(node int) time.Duration {
	text := m.proc(node, "stat")
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // of 100 in a second, as Linux tells
}

// resident is the memory of a node that is resident and its own, in bytes.
func (m *measured) resident(node int) float64 {
	for line := range strings.SplitSeq(m.proc(node, "status"), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			kib, _ := strconv.Atoi(f[1])
			return float64(kib) * 1024
		}
	}
	return 0
}

func (m *measured) proc(node int, file string) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.nodes[node].PID, file))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}
