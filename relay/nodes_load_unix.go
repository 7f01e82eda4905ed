//go:build unix

package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is how long the process has run on processors in all.
func processorTime() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
