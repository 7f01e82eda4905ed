package browser

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// outputLimit is how much of the end of a program's output an error
	// quotes, in bytes.
	outputLimit = 2 << 10

	// leaveLimit bounds the wait for killed processes to be gone.
	leaveLimit = time.Minute
)

// runGroup runs a program, with all that it starts, in a process group and a
// home of its own. It returns when the program has ended or ctx has, and none
// of its processes is left. The error for an ended ctx is its cause.
func runGroup(ctx context.Context, home, program string, args ...string) error {
	output, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer output.Close()

	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = home
	cmd.Env = environ(home)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// There is nothing in a throw-away profile that an orderly end would
	// save, and Firefox takes seconds for one.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	w.Close()
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}

	// Every process of the group holds the pipe, so its end is theirs.
	var last tail
	left := make(chan error, 1)
	go func() {
		_, err := io.Copy(&last, output)
		left <- err
	}()
	err = cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what the program left behind
	output.SetReadDeadline(time.Now().Add(leaveLimit))
	leftErr := <-left

	base := filepath.Base(program)
	switch {
	case leftErr != nil:
		return fmt.Errorf("end %s: processes left: %w", base, leftErr)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w%s", context.Cause(ctx), last.quote())
	case err != nil:
		return fmt.Errorf("run %s: %w%s", base, err, last.quote())
	}
	return nil
}

// environ is what a program gets to know of its surroundings: no display, no
// session bus, no proxy, nothing of the user's own home.
func environ(home string) []string {
	return []string{
		"HOME=" + home,
		"TMPDIR=" + home,
		"XDG_RUNTIME_DIR=" + home,
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"DBUS_SESSION_BUS_ADDRESS=disabled:",
		"DBUS_SYSTEM_BUS_ADDRESS=disabled:",
		"MOZ_CRASHREPORTER_DISABLE=1",
	}
}

// A tail is a writer that keeps the last outputLimit bytes.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - outputLimit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// quote returns what was kept, as the end of an error message.
func (t *tail) quote() string {
	text := strings.TrimSpace(string(t.kept))
	if text == "" {
		return ""
	}
	return "\nits last words: " + text
}
