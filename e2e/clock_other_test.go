//go:build !(linux && amd64)

package e2e

import (
	"errors"
	"os/exec"
	"time"

	"keystay/e2e/internal/world"
)

// A wallClock needs code for the processor, and the way in which Linux gives the time.
type wallClock struct{}

func launchWithClock(*exec.Cmd, time.Duration) (*world.Process, *wallClock, error) {
	return nil, nil, errors.New("the clock of a program cannot be set here")
}

func (*wallClock) set(time.Duration) error { return nil }
func (*wallClock) close()                  {}

func startWithClock(int, time.Duration) (*wallClock, error) {
	return nil, errors.New("no clock can be set here")
}
