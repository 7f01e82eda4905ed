package unit

import (
	"context"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/windows/svc"
)

// maxLog is how long the log of a unit may be before it becomes the old one, in bytes.
const maxLog = 10 << 20

// Run runs a program's main function, which returns its exit code, and returns the one for
// the unit's manager. The context that it gets ends when the manager of Windows wants it to
// stop. Where the manager has started it, it logs to the file of logVariable.
func Run(name string, final []int, main func(context.Context) int) int {
	if is, err := svc.IsWindowsService(); err != nil || !is {
		return main(context.Background())
	}
	if path := os.Getenv(logVariable); path != "" {
		if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
			_ = os.Rename(path, path+".old")
		}
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			os.Stdout, os.Stderr = f, f
		}
	}
	h := &handler{main: main, final: append([]int{0}, final...)}
	if err := svc.Run(name, h); err != nil {
		return 1
	}
	return h.code
}

// A handler runs main for the manager of Windows.
type handler struct {
	main  func(context.Context) int
	final []int
	code  int
}

// Execute implements svc.Handler. A program that ends by itself, and is to be started
// again, ends without telling the manager, which is a failure to it.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, states chan<- svc.Status) (specific bool, code uint32) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan int, 1)
	go func() { ended <- h.main(ctx) }()
	const accepts = svc.AcceptStop | svc.AcceptShutdown
	states <- svc.Status{State: svc.Running, Accepts: accepts}
	for {
		select {
		case h.code = <-ended:
			if ctx.Err() == nil && !slices.Contains(h.final, h.code) {
				os.Exit(h.code)
			}
			return h.code != 0, uint32(h.code) //nolint:gosec // an exit code
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				states <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				stop()
				states <- svc.Status{State: svc.StopPending, WaitHint: uint32(time.Minute / time.Millisecond)}
			}
		}
	}
}
