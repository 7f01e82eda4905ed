//go:build unix

package screen

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// suspendWait is how long a stop may take to come. A process without a shell that
	// could let it go on is not stopped at all.
	suspendWait = 300 * time.Millisecond
	// foregroundEvery is how often a process in the background looks whether the terminal
	// is its own again: no signal tells where the shell has let it go on before.
	foregroundEvery = 250 * time.Millisecond
)

// canSuspend says that a shell can stop the program and let it go on.
const canSuspend = true

// suspend stops the program's processes as Ctrl-Z does elsewhere, and returns when they go
// on, of which goesOn hears, or when no stop has come.
func suspend(goesOn <-chan os.Signal) {
	_ = syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-goesOn:
	case <-time.After(suspendWait):
	}
}

// awaitForeground returns when the terminal is this process's, or false when the screen is
// to end before.
func awaitForeground(terminal *os.File, end <-chan struct{}) bool {
	every := time.NewTicker(foregroundEvery)
	defer every.Stop()
	for !IsForeground(terminal) {
		select {
		case <-every.C:
		case <-end:
			return false
		}
	}
	return true
}

// hearGoesOn has c told when the program goes on after a stop, whoever has asked for that.
// The shell may have changed the terminal meanwhile.
func hearGoesOn(c chan os.Signal) { signal.Notify(c, syscall.SIGCONT) }

// IsForeground reports whether this process is one of those that a terminal is for now:
// one in the background, as after "remote &", would be stopped for using it.
func IsForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// apart keeps the terminal's signals from a program.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
