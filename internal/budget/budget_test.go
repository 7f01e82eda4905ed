package budget

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A share that is alone gets half, and those that come after greedy ones still get
// something: nobody can take all.
func TestGreedySharesLeaveSomethingForOthers(t *testing.T) {
	b := New(1 << 30)
	one := b.Share()
	for one.Take(1, 1<<20) > 0 {
	}
	if got, want := one.Used(), int64(1<<30)/2; got < want-8 || got > want {
		t.Errorf("one greedy share has %d, want %d", got, want)
	}
	for range 59 {
		s := b.Share()
		for s.Take(1, 1<<16) > 0 {
		}
	}
	if free := b.Limit() - b.Used(); free < b.Limit()/150 {
		t.Errorf("60 greedy shares leave %d", free)
	}
	for i := range 10 {
		if n := b.Share().Take(Floor, Floor); n != Floor {
			t.Errorf("after 60 greedy shares the %d. other one gets %d bytes; %d are free", i+1, n, b.Limit()-b.Used())
		}
	}
	if b.Peak() > b.Limit() {
		t.Errorf("peak %d", b.Peak())
	}
}

// Take gives all that is asked for, or what may be had from least on, or nothing.
func TestTakeGivesWhatMayBeHad(t *testing.T) {
	const limit = 64 << 20
	b := New(limit)
	s := b.Share()
	for _, c := range []struct{ least, most, want int }{
		{1, 4 << 20, 4 << 20}, {limit/2 - 4<<20 + 1, limit, 0}, {1, limit, limit/2 - 4<<20}, {1, 1, 0}, {0, 1, 0},
	} {
		if got := s.Take(c.least, c.most); got != c.want {
			t.Errorf("Take(%d, %d) of %d used: %d, want %d", c.least, c.most, s.Used(), got, c.want)
		}
	}
	s.Put(limit / 2)
	if s.Used() != 0 || b.Used() != 0 || s.Left() != limit/2 {
		t.Errorf("used %d and %d, left %d", s.Used(), b.Used(), s.Left())
	}
	var none *Share
	if none.Take(1, 5) != 5 || none.Used() != 0 || none.Left() < 1<<40 {
		t.Error("a nil share has a limit")
	}
	none.Put(5)
}

// Whatever comes at once, the limit holds and all is given back.
func TestLimitHoldsWhateverComesAtOnce(t *testing.T) {
	b := New(1 << 20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, have := b.Share(), []int(nil)
			for range 5000 {
				if n := s.Take(1, rand.IntN(1<<16)+1); n > 0 {
					have = append(have, n)
				} else if len(have) > 0 {
					s.Put(have[0])
					have = have[1:]
				}
			}
			for _, n := range have {
				s.Put(n)
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.Peak() > b.Limit() || b.Peak() < b.Limit()/2 {
		t.Errorf("used %d, peak %d", b.Used(), b.Peak())
	}
}

// The least limit of all control groups counts, else the machine's memory.
func TestLeastLimitOfTheControlGroupsCounts(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	mem := file("MemFree:  1 kB\nMemTotal:        8000000 kB\n")
	const machine = 8000000 << 10
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
		from  string
	}{
		"nothing":  {fstest.MapFS{}, Unknown, "unknown"},
		"no group": {fstest.MapFS{"proc/meminfo": mem}, machine, "machine"},
		"version 2": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("0::/system.slice/keystay-relay.service\n"),
			"sys/fs/cgroup/system.slice/keystay-relay.service/memory.max": file("536870912\n")}, 512 << 20, "cgroup"},
		"version 2, without": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max": file("max\n")}, machine, "machine"},
		"version 2, above": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("1048576\n")}, 1 << 20, "cgroup"},
		"version 2, the container's root": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576\n")}, 1 << 20, "cgroup"},
		"version 1": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n"),
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": file("1048576\n")}, 1 << 20, "cgroup"},
		"version 1, in a container": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("4:memory:/docker/abc\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1048576\n")}, 1 << 20, "cgroup"},
		"version 1, without": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, machine, "machine"},
		"version 1, without, on an unknown machine": {fstest.MapFS{"proc/self/cgroup": file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, Unknown, "unknown"},
		"more than the machine has": {fstest.MapFS{"proc/meminfo": mem, "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("99999999999999\n")}, machine, "machine"},
		"noise": {fstest.MapFS{"proc/meminfo": file("MemTotal\nMemTotal: x kB\n"), "proc/self/cgroup": file("0:\nx\n")}, Unknown, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, from := available(c.files); got != c.want || from != c.from {
				t.Errorf("%d from %s, want %d from %s", got, from, c.want, c.from)
			}
			limit := int64(0) // of the runtime: what is no limit is none for it
			if c.from == "cgroup" {
				limit = c.want / 10 * 9
			}
			if got := runtimeLimit(c.files); got != limit {
				t.Errorf("the runtime gets %d, want %d", got, limit)
			}
		})
	}
	if n, from := Available(); n < 1<<20 {
		t.Errorf("this machine has %d from %s", n, from)
	}
}
