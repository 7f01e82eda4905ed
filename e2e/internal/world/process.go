package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/internal/testca"
)

// Patience bounds every wait that names no bound of its own. It is long, for busy
// machines: no test gets through by waiting for its end.
const Patience = 90 * time.Second

// orderly bounds the end of a program that nothing holds up.
const orderly = Patience

// A Process is a program that runs.
type Process struct {
	Cmd *exec.Cmd
	Log Transcript // what it writes to stderr
	Out Transcript // what it writes to stdout
	All Transcript // both, as they come

	name     string
	t        testing.TB // nil in stories
	done     chan struct{}
	expected bool // somebody has looked at how it ended
}

// Launch starts a program. Its streams are kept, unless cmd has others. Whatever
// its environment is, it has the test's RaceOptions.
func Launch(cmd *exec.Cmd) (*Process, error) { return LaunchStopped(cmd, nil) }

// LaunchStopped is Launch for a program that is stopped at its start, as one that is
// traced. It calls resume, from the caller's own goroutine, before anything else waits for
// the program: a wait for its end may see the stop in the place of whoever it is for. With
// an error of resume the program is killed.
func LaunchStopped(cmd *exec.Cmd, resume func(pid int) error) (*Process, error) {
	cmd.Env = append(cmd.Environ(), RaceOptions+"="+os.Getenv(RaceOptions))
	p := &Process{Cmd: cmd, name: filepath.Base(cmd.Path), done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = io.MultiWriter(&p.Out, &p.All)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = io.MultiWriter(&p.Log, &p.All)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var err error
	if resume != nil {
		err = resume(cmd.Process.Pid)
	}
	if err != nil {
		_ = cmd.Process.Kill()
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // ProcessState has it
	}()
	return p, err
}

// Start starts one of the programs of Programs, with nothing in its environment
// but env, or with the test's where env is nil. It is killed at the test's end,
// and what it has written is shown if the test has failed.
func Start(t testing.TB, env []string, program string, args ...string) *Process {
	t.Helper()
	return StartIn(t, here{}, env, program, args...)
}

// A Place is where a program is started, such as a network namespace: what Do calls is
// there.
type Place interface{ Do(f func() error) error }

// here is where the test is.
type here struct{}

func (here) Do(f func() error) error { return f() }

// StartIn is Start at a place.
func StartIn(t testing.TB, in Place, env []string, program string, args ...string) *Process {
	t.Helper()
	dir, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Env = env
	return StartCommand(t, in, cmd)
}

// StartCommand is StartIn for any program.
func StartCommand(t testing.TB, in Place, cmd *exec.Cmd) (p *Process) {
	t.Helper()
	err := in.Do(func() (err error) {
		p, err = Launch(cmd)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.t = t
	t.Cleanup(func() {
		p.Signal(syscall.SIGCONT) // in case it was stopped
		p.Cmd.Process.Kill()
		<-p.done
		if where := p.Broken(); where != "" {
			t.Errorf("%s has written %q", p.name, where)
		}
		if t.Failed() {
			t.Logf("%s has written:\n%s", p.name, p.All.String())
		}
	})
	return p
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	p.Cmd.Process.Kill()
	<-p.done
}

// StartRelayProgram starts the relay as a program, for Zone, and returns its public
// address too: it listens there on listen, and nowhere on admin where that is empty.
// Its files, with a certificate of ca's for Zone and what is below, are in dir, where
// it may be started again.
func StartRelayProgram(t testing.TB, ca *testca.CA, dir, listen, admin string) (p *Process, addr string) {
	t.Helper()
	cert, key := ca.Files(dir, Zone, "*."+Zone)
	config := filepath.Join(dir, "relay.yaml")
	text := fmt.Sprintf("domain: %s\nlisten: [%q]\nhttp_listen: []\nadmin: {listen: %q}\nstate_dir: %q\ntls: {cert_file: %q, key_file: %q}\n",
		Zone, listen, admin, filepath.Join(dir, "relay"), cert, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p = Start(t, []string{"HOME=" + dir}, "relay", "--config", config)
	return p, p.Find(`for=public addr=(\S+)`)
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// HasEnded reports whether the process has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal. A process that has ended gets none.
func (p *Process) Signal(s os.Signal) { _ = p.Cmd.Process.Signal(s) }

// Await waits until both streams together have words, and returns the rest of
// that line.
func (p *Process) Await(words string) (rest string) {
	p.t.Helper()
	return p.Find(regexp.QuoteMeta(words) + "(.*)")
}

// Find waits until the streams together have a line that matches, and returns
// what the last group of the pattern matches.
func (p *Process) Find(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		found, ok, more := p.All.Find(re)
		if ok {
			return found
		}
		select {
		case <-more:
		case <-p.done:
			if found, ok, _ := p.All.Find(re); ok {
				return found
			}
			p.t.Fatalf("%s has ended without %q", p.name, pattern)
		case <-late.C:
			p.t.Fatalf("%s has not written %q after %v", p.name, pattern, Patience)
		}
	}
}

// AwaitTimes waits until the streams together have words n times, and returns how
// long that took.
func (p *Process) AwaitTimes(limit time.Duration, words string, n int) time.Duration {
	p.t.Helper()
	start := time.Now()
	Eventually(p.t, limit, words, func() bool { return p.All.Count(words) >= n })
	return time.Since(start)
}

// ExitsWith waits for the end of the process and checks its exit code, and that
// it has written the words.
func (p *Process) ExitsWith(code int, words ...string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Fatalf("%s has not ended after %v", p.name, Patience)
	}
	if got := p.Cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%s: exit code %d, want %d", p.name, got, code)
	}
	for _, w := range words {
		if p.All.Count(w) == 0 {
			p.t.Errorf("%s does not write %q", p.name, w)
		}
	}
}

// Stop ends the process by SIGINT, which it must obey in good order.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(os.Interrupt)
	p.ExitsWith(0)
}

// Expect says that somebody has looked at how the process ended, for Finish.
func (p *Process) Expect() { p.expected = true }

// broken is what no program may ever write: that it has ended by a mistake, or that one
// has ended a connection, as package panics says it.
var broken = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE)|a mistake in this program has ended`)

// Broken returns what the process has written that no program may ever write, or
// nothing.
func (p *Process) Broken() string { return broken.FindString(p.Log.String()) }

// Finish ends the process as a story's end does, in good order. The error says
// what was wrong with it.
func (p *Process) Finish() error {
	p.Signal(syscall.SIGCONT) // in case it was stopped
	var slow error
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		if p.HasEnded() {
			break
		}
		p.Signal(s)
		select {
		case <-p.done:
		case <-time.After(orderly):
			slow = fmt.Errorf("did not end within %v of SIGTERM", orderly)
		}
	}
	if where := p.Broken(); where != "" {
		return errors.New("its log has " + where)
	}
	if code := p.Cmd.ProcessState.ExitCode(); !p.expected && code != 0 {
		return errors.Join(slow, fmt.Errorf("exit code %d", code))
	}
	return slow
}

// Eventually waits until f is true.
func Eventually(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !f() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("after %v still not: %s", limit, strings.TrimSpace(what))
		}
	}
}
