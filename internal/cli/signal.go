package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that ends with the first SIGINT or SIGTERM, when
// the program is to drain, and one that ends with the second, when it is to
// cut. Stop releases both.
func Signals(parent context.Context) (drain, cut context.Context, stop func()) {
	drain, endDrain := context.WithCancel(parent)
	cut, endCut := context.WithCancel(parent)
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for _, end := range []context.CancelFunc{endDrain, endCut} {
			select {
			case <-c:
				end()
			case <-done:
				return
			}
		}
	}()
	return drain, cut, func() {
		signal.Stop(c)
		close(done)
		endDrain()
		endCut()
	}
}
