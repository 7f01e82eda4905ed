package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/config"
)

// A program runs in the background of a story.
type program struct {
	cmd      *exec.Cmd
	log, out transcript
	done     chan struct{} // closed when it has ended
	expected bool          // a story has looked at how it ended
}

// start is the command
//
//	start [-user=UID] NAME PROGRAM [ARG...]
//
// A name may be used again when its program has ended; its streams then begin
// anew.
func start(ts *testscript.TestScript, neg bool, args []string) {
	uid := -1
	args = flags(ts, args, map[string]func(string) error{
		"user": func(s string) (err error) { uid, err = strconv.Atoi(s); return },
	})
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start [-user=UID] NAME PROGRAM [ARG...]")
	}
	w := worldOf(ts)
	name := args[0]
	if old := w.programs[name]; old != nil && !old.hasEnded() {
		ts.Fatalf("%s is running already", name)
	}
	p := &program{
		cmd:  exec.Command(filepath.Join(os.Getenv(binVariable), args[1]), args[2:]...),
		done: make(chan struct{}),
	}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = environment(ts)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if uid >= 0 {
		p.cmd.Dir = ts.Getenv("DIR") // see lent
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState has it
	}()
	w.programs[name] = p
	w.streams[name], w.streams[name+".out"] = &p.log, &p.out
}

// environment is the story's, as far as a program makes use of it.
func environment(ts *testscript.TestScript) []string {
	names := []string{"PATH", "HOME", "TMPDIR", "VISIT_VIA", "VISIT_PLAIN", "VISIT_ROOT"}
	for _, k := range append(config.RelayKeys(), config.RemoteKeys()...) {
		names = append(names, k.Env)
	}
	var env []string
	for _, n := range names {
		if v := ts.Getenv(n); n != "" && v != "" {
			env = append(env, n+"="+v)
		}
	}
	return env
}

func (p *program) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// over returns a channel that is closed when the writer of a stream has ended.
func (w *world) over(stream string) <-chan struct{} {
	for name, p := range w.programs {
		if stream == name || stream == name+".out" {
			return p.done
		}
	}
	return nil
}

func (w *world) program(ts *testscript.TestScript, name string) *program {
	p := w.programs[name]
	if p == nil {
		ts.Fatalf("no program is called %s", name)
	}
	return p
}

// signalProgram is the command
//
//	signal NAME TERM|INT|KILL|STOP|CONT
func signalProgram(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
		"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME TERM|INT|KILL|STOP|CONT")
	}
	ts.Check(worldOf(ts).program(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// ended is the command
//
//	[!] ended [-in=DURATION] NAME [CODE]
//
// It waits until the program has ended, with that exit code; -1 is by a signal.
// Negated, the program must be running.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	limit := storyPatience
	args = flags(ts, args, map[string]func(string) error{
		"in": func(s string) (err error) { limit, err = time.ParseDuration(s); return },
	})
	if len(args) != 2 && !(neg && len(args) == 1) {
		ts.Fatalf("usage: [!] ended [-in=DURATION] NAME [CODE]")
	}
	p := worldOf(ts).program(ts, args[0])
	if neg {
		if p.hasEnded() {
			ts.Fatalf("%s has ended: %v", args[0], p.cmd.ProcessState)
		}
		return
	}
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	select {
	case <-p.done:
	case <-time.After(limit):
		ts.Fatalf("%s has not ended after %v", args[0], limit)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		ts.Fatalf("%s: exit code %d, expected %d", args[0], got, code)
	}
	p.expected = true
}

// exits is the command
//
//	exits CODE PROGRAM [ARG...]
//
// It is exec for a program whose exit code matters.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != code {
		ts.Fatalf("exit code %d, expected %d", got, code)
	}
}

// restarts is the command
//
//	restarts N relay
//	restarts N remote DOMAIN
//
// It starts the program and ends it in good order, N times, as soon as it is
// ready.
func restarts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: restarts N relay|remote [DOMAIN]")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		if args[1] == "relay" {
			start(ts, false, []string{"relay", "relay"})
			await(ts, false, []string{"relay", "certificate loaded"})
		} else {
			start(ts, false, []string{"remote", "remote", "--domain", args[2], "--local", ts.Getenv("SITE")})
			await(ts, false, []string{"remote.out", "^https://"})
		}
		signalProgram(ts, false, []string{args[1], "TERM"})
		ended(ts, false, []string{args[1], "0"})
	}
}

// orderly bounds the end of a program that nothing holds up.
const orderly = 10 * time.Second

// broken is what no program may ever write.
var broken = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE)`)

// finish ends the program as a story's end does. The error says what was wrong
// with it.
func (p *program) finish() error {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // in case it was stopped
	var slow error
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		if p.hasEnded() {
			break
		}
		_ = p.cmd.Process.Signal(s)
		select {
		case <-p.done:
		case <-time.After(orderly):
			slow = fmt.Errorf("did not end within %v of SIGTERM", orderly)
		}
	}
	if where := broken.FindString(p.log.String()); where != "" {
		return errors.New("its log has " + where)
	}
	if code := p.cmd.ProcessState.ExitCode(); !p.expected && code != 0 {
		return errors.Join(slow, fmt.Errorf("exit code %d", code))
	}
	return slow
}
