package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// Hangups makes the program outlive two signals that would end it. Each SIGHUP,
// which the end of a terminal sends too, comes out of the channel; where SIGHUP
// is ignored, as under nohup, it stays ignored. SIGPIPE, which comes when nobody
// reads the log any more, does nothing, and writing fails. Stop closes the
// channel; from then on SIGHUP is ignored, since the program ends.
func Hangups() (c <-chan os.Signal, stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1) // several in a row are one
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	return hangups, func() {
		signal.Ignore(syscall.SIGHUP)
		close(hangups)
	}
}
