package record_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
	modelled "keystay/relay/names/trial"
)

// A still is a clock that goes on by what it is told alone.
type still struct {
	mu  sync.Mutex
	now time.Time
}

func (s *still) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *still) Sleep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// The policy agrees with its model above etcd, too, on one node and where devices and the
// operator are on several: that is the test of package names, with the times that it has.
func TestPolicyAgreesWithItsModelAboveEtcd(t *testing.T) {
	t.Parallel()
	for seed, nodes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			t.Parallel()
			s := etcd.Start(t, nil)
			clock := &still{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			var list []*node
			setup := modelled.Setup{Sleep: clock.Sleep,
				Times: modelled.Times{ProofAge: time.Hour, LostAfter: 3 * 24 * time.Hour, SilentAfter: 14 * 24 * time.Hour, SeenStep: 24 * time.Hour}}
			for range nodes {
				n := open(t, s, func(cfg *record.Config) { cfg.Now = clock.Now })
				list, setup.Nodes = append(list, n), append(setup.Nodes, n.Names)
			}
			ready(t, list...)
			setup.Sync = func() {
				for _, n := range list {
					n.record.Fresh(t.Context())
				}
				waitFor(t, "the bans are known", func() bool { return sameBans(t, list) })
			}
			model := modelled.New(t, uint64(seed), setup)
			for range 30 {
				if !model.Step() {
					break
				}
			}
		})
	}
}

// sameBans reports whether all nodes have the bans in force that are in the record.
func sameBans(t *testing.T, list []*node) bool {
	for _, kind := range []names.BanKind{names.BanName, names.BanIdentity} {
		for _, n := range list {
			bans, err := n.Bans(kind)
			if err != nil {
				t.Fatal(err)
			}
			if n.CountBans(kind) != len(bans) {
				return false
			}
		}
	}
	return true
}
