package budget

import (
	"bufio"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Unknown is the memory that a machine is taken to have where it does not tell.
const Unknown = 1 << 30

// Available returns how many bytes of memory this process may have: the memory
// limit of the Go runtime (GOMEMLIMIT) if there is one, else that of the control
// group, else what the machine has. From says which.
func Available() (bytes int64, from string) {
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 {
		return n, "GOMEMLIMIT"
	}
	return available(os.DirFS("/"))
}

// LimitRuntime gives the Go runtime nine tenths of the control group's memory as
// its limit, so that it collects garbage before the kernel ends the process. It
// does nothing where GOMEMLIMIT is set or the group has no limit.
func LimitRuntime() {
	if debug.SetMemoryLimit(-1) < math.MaxInt64 {
		return
	}
	if n := runtimeLimit(os.DirFS("/")); n > 0 {
		debug.SetMemoryLimit(n)
	}
}

// runtimeLimit returns the limit for the runtime, or 0 for none.
func runtimeLimit(root fs.FS) int64 {
	if n, from := available(root); from == "cgroup" {
		return n / 10 * 9
	}
	return 0
}

func available(root fs.FS) (int64, string) {
	group, machine := groupLimit(root), machineMemory(root)
	switch {
	case group > 0 && (machine == 0 || group < machine):
		return group, "cgroup"
	case machine > 0:
		return machine, "machine"
	}
	return Unknown, "unknown"
}

// unlimited is what no machine has: version 1 has a number of that kind where
// there is no limit, the largest that its pages give.
const unlimited = 1 << 60

// groupLimit returns the smallest limit of the control groups that the process
// is in (cgroups(7)), version 2 or 1; 0 where there is none.
func groupLimit(root fs.FS) (limit int64) {
	lower := func(dir, file string) {
		for {
			b, err := fs.ReadFile(root, path.Join(dir, file))
			n, perr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is no number
			if err == nil && perr == nil && n > 0 && n < unlimited && (limit == 0 || n < limit) {
				limit = n
			}
			if dir == "sys/fs/cgroup" || dir == "." {
				return
			}
			dir = path.Dir(dir)
		}
	}
	f, err := root.Open("proc/self/cgroup")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// hierarchy-ID:controller-list:cgroup-path
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		// A container sees its own group as the root, and may be told of the whole
		// path: so the folders above count too, whether that one is there or not.
		switch {
		case parts[0] == "0" && parts[1] == "":
			lower(path.Join("sys/fs/cgroup", parts[2]), "memory.max")
		case strings.Contains(","+parts[1]+",", ",memory,"):
			lower(path.Join("sys/fs/cgroup/memory", parts[2]), "memory.limit_in_bytes")
		}
	}
	return limit
}

// machineMemory returns MemTotal of proc(5), or 0.
func machineMemory(root fs.FS) int64 {
	f, err := root.Open("proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
