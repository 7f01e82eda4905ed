package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"keystay/e2e/internal/owners"
	"keystay/e2e/internal/world"
	"keystay/framing"
)

// A storm is what goes on at a cluster while one thing after the other fails by chance.
type storm struct {
	*cluster
	all     []*served
	history owners.History
	wg      sync.WaitGroup
	stop    chan struct{}
	visits  atomic.Int64

	mu    sync.Mutex
	wrong []string
	asked [nodesOf3]time.Time // when the claim was made that a node has decided last
}

// random lets things fail by chance while devices claim names and visitors come, and heals
// them. A name has one owner, and no visitor gets another's device.
func (c *cluster) random(all []*served) {
	rounds, most := 1, 2*time.Second
	if soaking() {
		rounds, most = 40, 8*time.Second
	}
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	s := &storm{cluster: c, all: all, stop: make(chan struct{})}
	end := sync.OnceFunc(func() {
		close(s.stop)
		s.wg.Wait()
	})
	defer end()
	for client := range 2 * nodesOf3 {
		s.wg.Go(func() { s.claims(client, client%nodesOf3) })
	}
	for node := range c.nodes {
		s.wg.Go(func() { s.visitors(node) })
	}
	var longest time.Duration
	for range rounds {
		s.fault(chance)
		<-time.After(time.Second + time.Duration(chance.Int64N(int64(most))))
		took := s.heal()
		c.t.Logf("%v after the healing all is well", took.Round(time.Millisecond))
		longest = max(longest, took)
	}
	end()
	n := s.history.Count()
	c.t.Logf("%d claims granted, %d taken, %d not decided; %d visits answered; all was well %v after a healing at most",
		n[owners.Granted], n[owners.Taken], n[owners.Unknown], s.visits.Load(), longest.Round(time.Millisecond))
	for _, w := range s.wrong {
		c.t.Error(w)
	}
	if err := s.history.Check(time.Minute); err != nil {
		c.t.Error(err)
	}
}

func (s *storm) over() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *storm) is(wrong string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, wrong)
}

// claims claims one name after the other at a node, which others claim elsewhere, each as
// another device.
func (s *storm) claims(client, at int) {
	for i := 0; !s.over(); i++ {
		key, name := newKey(), fmt.Sprintf("storm%d.%s", i, world.Zone)
		for decided := false; !decided && !s.over(); {
			<-time.After(rand.N(50 * time.Millisecond))
			answered, asked := s.history.Claim(client, name, fmt.Sprintf("device %d.%d", client, i)), time.Now()
			o, err := s.claim(at, key, name)
			answered(o)
			var d *framing.Denial
			if decided = o != owners.Unknown; !decided && errors.As(err, &d) && d.Permanent() {
				s.is(fmt.Sprintf("a claim that is not decided is refused for good: %v", err))
			}
			if decided {
				s.mu.Lock()
				s.asked[at] = asked
				s.mu.Unlock()
			}
		}
	}
}

// visitors visit all devices at a node, again and again. A visit may fail.
func (s *storm) visitors(node int) {
	for !s.over() {
		for _, to := range s.all {
			if answer, err := s.visit(node, to.name); err == nil {
				s.visits.Add(1)
				if answer != to.answer {
					s.is(fmt.Sprintf("at node %d %s answers %q", node, to.name, answer))
				}
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// fault lets something fail.
func (s *storm) fault(chance *rand.Rand) {
	one := chance.IntN(3)
	switch chance.IntN(6) {
	case 0:
		s.t.Logf("node %d is killed", one)
		s.nodes[one].Kill()
	case 1:
		s.t.Logf("member %d of etcd is killed", one)
		s.etcd.Members[one].Kill()
	case 2:
		s.t.Logf("all of etcd is killed")
		for _, m := range s.etcd.Members {
			m.Kill()
		}
	case 3:
		s.t.Logf("node %d is parted from all others and from etcd", one)
		s.g.Part([]int{one}, []int{(one + 1) % 3, (one + 2) % 3, etcdAt, etcdAt + 1, etcdAt + 2})
	case 4:
		s.t.Logf("nothing comes to node %d from the others and from etcd", one)
		for _, from := range []int{(one + 1) % 3, (one + 2) % 3, etcdAt, etcdAt + 1, etcdAt + 2} {
			s.g.Cut(from, one, true)
		}
	case 5:
		s.t.Logf("each way between nodes and etcd is cut with even chances")
		for from := range devicesAt {
			for to := range devicesAt {
				s.g.Cut(from, to, chance.IntN(2) == 0)
			}
		}
	}
}

// heal mends all, and returns how long it took until each node gives out names and reaches
// each device.
func (s *storm) heal() time.Duration {
	s.t.Helper()
	s.g.Heal()
	for i, m := range s.etcd.Members {
		if m.HasEnded() {
			s.etcd.Start(i)
		}
	}
	for _, n := range s.nodes {
		if n.PID == 0 {
			n.Start()
		}
	}
	healed := time.Now()
	world.Eventually(s.t, world.Patience, "all nodes decide claims again", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, asked := range s.asked {
			if asked.Before(healed) {
				return false
			}
		}
		return true
	})
	s.allReach(s.all)
	return time.Since(healed)
}
