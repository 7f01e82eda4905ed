//go:build unix

package cli

import "golang.org/x/sys/unix"

// onTerminal reports whether stdin, stdout or stderr is the terminal that
// controls this process: the one whose end the system tells by SIGHUP. Any other
// terminal has no foreground group for this process.
func onTerminal() bool {
	for fd := range 3 {
		if _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			return true
		}
	}
	return false
}
