//go:build unix

package screen

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	// guardWait is how long the guard may take to begin, and to end: on a machine that is
	// busy, a program takes long for both.
	guardWait = 10 * time.Second
	// guardTerminal is the file of the terminal in the guard.
	guardTerminal = 3
	// wellDone is what the guard hears of an end in good order.
	wellDone = "well done"
	// giveBack makes a terminal one for lines: it leaves the alternate screen, shows the
	// cursor, ends colours, and what reports the mouse, pastes and keys in other forms.
	giveBack = "\x1b[?1049l\x1b[?25h\x1b[m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[<u\x1b[>4;0m"
	// maxCrash is how much of what a crash says is shown.
	maxCrash = 1 << 20
)

// guard starts this program once more, with such an argument that it calls StandGuard. If
// this process ends without calling release, be it by a panic or by SIGKILL, it gives the
// terminal back as it is now. Without it everything else works: so it does where the guard
// is not ready after wait, which is then no more.
func guard(terminal *os.File, argument string, wait time.Duration) (release func()) {
	none := func() {}
	program, err := os.Executable()
	if err != nil {
		return none
	}
	hears, tells, err := crashPair()
	if err != nil {
		return none
	}
	ready, begins, err := os.Pipe()
	if err != nil {
		hears.Close()
		tells.Close()
		return none
	}
	cmd := exec.Command(program, argument)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = hears, begins, os.Stderr, []*os.File{terminal}
	apart(cmd)
	err = cmd.Start()
	hears.Close()
	begins.Close()
	if err == nil {
		_ = ready.SetReadDeadline(time.Now().Add(wait))
		_, err = io.ReadFull(ready, make([]byte, 1))
	}
	ready.Close()
	if err != nil {
		if cmd.Process != nil { // before it hears of an end, and gives back what the screen has
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		tells.Close()
		return none
	}
	_ = debug.SetCrashOutput(tells, debug.CrashOptions{})
	return func() {
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		_, _ = io.WriteString(tells, wellDone)
		tells.Close()
		timer := time.AfterFunc(guardWait, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
	}
}

// crashPair are two sockets, of which a crash writes to the second. It holds so little that
// what a crash says does not fit, so that the crash waits until somebody reads it.
func crashPair() (hears, tells *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	_ = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, 1) // the least that there is
	return os.NewFile(uintptr(fds[0]), "crash"), os.NewFile(uintptr(fds[1]), "crash"), nil
}

// StandGuard is what guard has started: it waits for the end of that process, and gives
// the terminal back if that has not. A crash's text goes to stderr once more, since it has
// gone away with the alternate screen.
func StandGuard() {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTOU)
	before, err := term.GetState(guardTerminal)
	if err != nil {
		return
	}
	_, _ = os.Stdout.Write([]byte{1})
	_ = os.Stdout.Close()
	first := make([]byte, 4096)
	n, _ := os.Stdin.Read(first)
	if string(first[:n]) == wellDone {
		return
	}
	// The terminal is given back before the rest is read. A crash waits for that reading, so
	// the shell does not get the terminal first, and does not keep it as it is now. After
	// SIGKILL nothing waits, and the shell may be first.
	_ = term.Restore(guardTerminal, before)
	_, _ = os.NewFile(guardTerminal, "terminal").WriteString(giveBack)
	rest, _ := io.ReadAll(io.LimitReader(os.Stdin, maxCrash))
	if term.IsTerminal(int(os.Stderr.Fd())) {
		_, _ = os.Stderr.Write(append(first[:n], rest...))
	}
}
