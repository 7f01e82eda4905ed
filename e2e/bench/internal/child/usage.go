//go:build linux

package child

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the processor time that the program has used until now, all threads
// and those that have ended, user and system. It is exact to about a tick of
// the scheduler, where /proc/PID/stat counts hundredths of a second. For a
// process that is nil it is 0.
func (p *Process) CPU() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	// The clock of another process (clock_getcpuclockid(3)): its id with the
	// bits turned over, and 2 for the scheduler's clock.
	id := int32(^p.cmd.Process.Pid)<<3 | 2
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", p, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Resident is the program's memory in bytes, all pages counted, where VmRSS in
// /proc/PID/status may lag.
func (p *Process) Resident() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Rss:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("memory of %s: no Rss in %s", p, f.Name())
}

// Descriptors is how many file descriptors the program has open.
func (p *Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}
