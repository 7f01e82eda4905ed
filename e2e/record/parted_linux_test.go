package record_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/machines"
	"keystay/e2e/internal/owners"
	"keystay/internal/testca"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// The machines of a trial: a node on each of the first, a member of etcd on each of the
// others.
const nodesOf3 = 3

// A trial is three nodes that claim names while something goes wrong.
type trial struct {
	t       *testing.T
	g       *machines.Group
	etcd    *machines.Etcd
	nodes   []*node
	history owners.History
	wg      sync.WaitGroup
	stop    chan struct{}
	end     func()    // of the clients
	since   time.Time // of the last healing; guarded by mu

	mu   sync.Mutex
	why  map[string]int        // texts of claims that were not decided
	back map[int]time.Duration // until a node has decided a claim again
	slow time.Duration         // the longest of all
}

// TestOneOwnerWhileEtcdFails has three nodes give out names that several devices want at
// once, while members of etcd are killed and parted from each other and from the nodes, one
// way or both. An order is found in which each name had one owner at a time; a claim that
// cannot be decided says why; and all nodes agree in the end.
func TestOneOwnerWhileEtcdFails(t *testing.T) {
	t.Parallel()
	rounds := 1
	if os.Getenv("KEYSTAY_SOAK") != "" {
		rounds = 60
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tr := newTrial(t)
	tr.end = sync.OnceFunc(func() {
		close(tr.stop)
		tr.wg.Wait()
	})
	defer tr.end()
	for client := range 3 * nodesOf3 {
		tr.wg.Go(func() { tr.claim(client, client%nodesOf3) })
	}
	for range rounds {
		tr.progress(100)
		tr.fault(random)
		tr.heal()
	}
	tr.progress(100)
	tr.end()
	count := tr.history.Count()
	t.Logf("%d granted, %d taken, %d not decided; after a healing a node decided again in %v at most; not decided: %v",
		count[owners.Granted], count[owners.Taken], count[owners.Unknown], tr.slow.Round(time.Millisecond), tr.why)
	if count[owners.Granted] == 0 || count[owners.Taken] == 0 {
		t.Error("nothing was decided")
	}
	if err := tr.history.Check(time.Minute); err != nil {
		t.Error(err)
	}
	tr.agree()
}

func newTrial(t *testing.T) *trial {
	g := machines.New(t, 2*nodesOf3)
	ca := testca.New(t)
	tr := &trial{t: t, g: g, etcd: g.StartEtcd(t, ca, 3, 4, 5), stop: make(chan struct{}), why: map[string]int{}, back: map[int]time.Duration{}}
	for i := range nodesOf3 {
		r, err := record.Open(record.Config{Endpoints: tr.etcd.Forwards(i), TLS: &tls.Config{RootCAs: ca.Pool()}, Key: make([]byte, record.KeySize)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		n := &node{&names.Names{Grants: r}, r}
		n.Begin(zone)
		tr.nodes = append(tr.nodes, n)
	}
	ready(t, tr.nodes...)
	return tr
}

// claim claims one name after the other at a node, each as another device. All clients
// claim the same names, in their order, so that several want each at once.
func (tr *trial) claim(client, at int) {
	key := newKey()
	for i := 0; ; {
		select {
		case <-tr.stop:
			return
		case <-time.After(rand.N(20 * time.Millisecond)):
		}
		name := fmt.Sprintf("n%d.%s", i, zone)
		answered := tr.history.Claim(client, name, fmt.Sprintf("device %d.%d", client, i))
		asked := time.Now()
		err := tr.nodes[at].claim(key, name)
		var d *names.Denied
		switch {
		case err == nil:
			answered(owners.Granted)
		case errors.As(err, &d) && d.Code == names.DeniedTaken:
			answered(owners.Taken)
		default:
			answered(owners.Unknown)
			tr.undecided(err)
			continue // with the same name, until it is decided
		}
		tr.decided(at, asked)
		key = newKey() // a device may hold 32 names
		i++
	}
}

// undecided notes why a claim was not decided, which it has to say.
func (tr *trial) undecided(err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	text := strings.SplitN(err.Error(), ": ", 3)
	tr.why[strings.Join(text[:min(2, len(text))], ": ")]++
	if !errors.Is(err, names.ErrClosed) && !strings.Contains(err.Error(), "etcd") {
		tr.t.Errorf("a claim is not decided, and says %q", err)
	}
}

// decided notes that a node has decided a claim that was made then.
func (tr *trial) decided(at int, asked time.Time) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if _, known := tr.back[at]; !known && !tr.since.IsZero() && asked.After(tr.since) {
		tr.back[at] = time.Since(tr.since)
		tr.slow = max(tr.slow, tr.back[at])
	}
}

// fault lets something go wrong for a while.
func (tr *trial) fault(random *rand.Rand) {
	member := random.IntN(3)
	switch what := random.IntN(5); what {
	case 0:
		tr.t.Logf("member %d is killed", member)
		tr.etcd.Members[member].Kill()
	case 1:
		tr.t.Logf("member %d is parted from the other two", member)
		tr.g.Part([]int{3 + member}, others(3, member))
	case 2:
		tr.t.Logf("node %d is parted from etcd", member)
		tr.g.Part([]int{member}, []int{3, 4, 5})
	case 3:
		tr.t.Logf("nothing comes from etcd to node %d", member)
		for _, m := range []int{3, 4, 5} {
			tr.g.Cut(m, member, true)
		}
	case 4:
		tr.t.Log("each way is cut with even chances")
		for from := range 6 {
			for to := range 6 {
				tr.g.Cut(from, to, random.IntN(2) == 0)
			}
		}
	}
	<-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
}

// others are the three machines from the first on, but for one.
func others(first, but int) (list []int) {
	for i := range 3 {
		if i != but {
			list = append(list, first+i)
		}
	}
	return list
}

// progress waits until so many more claims are decided.
func (tr *trial) progress(n int) {
	tr.t.Helper()
	decided := func() int {
		count := tr.history.Count()
		return count[owners.Granted] + count[owners.Taken]
	}
	goal := decided() + n
	waitFor(tr.t, "claims are decided", func() bool { return decided() >= goal })
}

// heal mends all, and waits until each node decides claims again.
func (tr *trial) heal() {
	tr.t.Helper()
	for i, m := range tr.etcd.Members {
		if m.HasEnded() {
			tr.etcd.Start(i)
		}
	}
	tr.mu.Lock()
	tr.since, tr.back = time.Now(), map[int]time.Duration{}
	tr.mu.Unlock()
	tr.g.Heal()
	waitFor(tr.t, "all nodes decide claims again", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.back) == nodesOf3
	})
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.t.Logf("healed: %v", tr.back)
}

// agree checks that all nodes have the same owners.
func (tr *trial) agree() {
	tr.t.Helper()
	owners := func(n *node) (all string) {
		for after := ""; ; {
			list, last, more, err := n.List(names.Filter{}, after, 100)
			if err != nil {
				return err.Error()
			}
			for _, g := range list {
				all += g.Name + " " + g.Identity + "\n"
			}
			if after = last; !more {
				return all
			}
		}
	}
	for i := range tr.nodes[1:] {
		waitFor(tr.t, "the nodes agree", func() bool { return owners(tr.nodes[0]) == owners(tr.nodes[i+1]) })
	}
}
