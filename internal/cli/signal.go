package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that ends with the first SIGINT or SIGTERM, when
// the program is to drain, and one that ends with the second, when it is to
// cut. On a terminal SIGHUP, which says that the terminal has gone, drains too;
// it never cuts, since the end of one terminal may send several. Stop releases
// both.
func Signals(parent context.Context) (drain, cut context.Context, stop func()) {
	drain, endDrain := context.WithCancel(parent)
	cut, endCut := context.WithCancel(parent)
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	hangup := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) && onTerminal() {
		signal.Notify(hangup, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-c:
		case <-hangup:
		case <-done:
			return
		}
		endDrain()
		select {
		case <-c:
			endCut()
		case <-done:
		}
	}()
	return drain, cut, func() {
		signal.Stop(c)
		signal.Stop(hangup)
		close(done)
		endDrain()
		endCut()
	}
}
