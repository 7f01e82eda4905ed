package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/internal/cli"
)

// terminalEnv makes this test's own program one that runs on a terminal.
const terminalEnv = "KEYSTAY_TEST_TERMINAL"

// openTerminal returns the two ends of a new terminal: closing the first is
// closing its window.
func openTerminal(t *testing.T) (window, terminal *os.File) {
	t.Helper()
	window, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { window.Close() })
	fd := int(window.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return window, terminal
}

// Closing the terminal's window drains the program, and a second SIGHUP does
// not cut; under nohup the program goes on; with another process's terminal as
// its stderr, SIGHUP is for reloading.
func TestClosedTerminalEndsTheProgram(t *testing.T) {
	if how := os.Getenv(terminalEnv); how != "" {
		onTerminal(t, how)
		return
	}
	for how, before := range map[string]string{"closed": "", "nohup": "trap '' HUP; ", "another's": ""} {
		window, terminal := openTerminal(t)
		cmd := exec.Command("/bin/sh", "-c", before+`exec "$0" -test.run TestClosedTerminalEndsTheProgram`, os.Args[0])
		cmd.Env = append(os.Environ(), terminalEnv+"="+how)
		cmd.Stderr = terminal
		out, ready, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{ready}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: how != "another's", Ctty: 2}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready.Close()
		out.Read(make([]byte, 1))
		out.Close()
		terminal.Close()
		window.Close()
		if how == "another's" {
			cmd.Process.Signal(syscall.SIGHUP)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// onTerminal is the program of that test: it exits with 0 when all is right.
func onTerminal(t *testing.T, how string) {
	drain, cut, stop := cli.Signals(context.Background())
	hangups, stopHangups := cli.Hangups()
	ready := os.NewFile(3, "ready")
	ready.Write([]byte{1})
	ready.Close()
	switch how {
	case "closed":
		<-drain.Done()
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		if len(hangups) != 0 {
			t.Error("it is for reloading too")
		}
	case "nohup":
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		if drain.Err() != nil || len(hangups) != 0 {
			t.Error("it is not ignored")
		}
	case "another's":
		<-hangups
		if drain.Err() != nil {
			t.Error("it ends the program")
		}
	}
	if cut.Err() != nil {
		t.Error("it cuts")
	}
	stop()
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	stopHangups()
}
