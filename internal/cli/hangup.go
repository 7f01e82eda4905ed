package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// Hangups makes the program outlive two signals that would end it. Each SIGHUP
// comes out of the channel; where SIGHUP is ignored, as under nohup, it stays
// ignored, and where the program runs on a terminal, it is for Signals. SIGPIPE,
// which comes when nobody reads the log any more, does nothing, and writing
// fails. Stop closes the channel; from then on SIGHUP does nothing, since the
// program ends. It is not ignored then: package signal has a moment between
// catching a signal and ignoring it, in which the signal would end the program.
func Hangups() (c <-chan os.Signal, stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1) // several in a row are one
	switch {
	case signal.Ignored(syscall.SIGHUP):
	case onTerminal():
		// Signals hears it. This keeps a second SIGHUP from ending the program
		// once Signals has stopped: a shell sends one, and the system another.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	default:
		signal.Notify(hangups, syscall.SIGHUP)
	}
	return hangups, func() {
		if !signal.Ignored(syscall.SIGHUP) {
			signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		}
		signal.Stop(hangups)
		close(hangups)
	}
}
