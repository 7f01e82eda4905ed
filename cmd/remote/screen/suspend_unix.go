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

// suspend stops the program's processes as Ctrl-Z does elsewhere. It returns when they go
// on and the terminal is theirs, or false when the screen is to end before. Asks is what
// hears of such a stop asked for from elsewhere.
func suspend(terminal *os.File, asks chan os.Signal, end <-chan struct{}) bool {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	signal.Reset(syscall.SIGTSTP) // it is to stop
	defer hearSuspend(asks)
	_ = syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-goesOn:
	case <-time.After(suspendWait):
	case <-end:
		return false
	}
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

// hearSuspend hears of a stop that is asked for from elsewhere.
func hearSuspend(asks chan os.Signal) { signal.Notify(asks, syscall.SIGTSTP) }

// IsForeground reports whether this process is one of those that a terminal is for now:
// one in the background, as after "remote &", would be stopped for using it.
func IsForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// apart keeps the terminal's signals from a program.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
