package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/config"
	"keystay/e2e/internal/world"
)

// start is the command
//
//	start [-user=UID] [-clock=DURATION] NAME PROGRAM [ARG...]
//
// With -clock the program's clock is so far from the machine's, and can be set. The program is one of those that are built for the stories, or else one of the
// system's. A name may be used again when its program has ended; its streams then begin
// anew.
func start(ts *testscript.TestScript, neg bool, args []string) {
	uid, clock := -1, ""
	args = flags(ts, args, map[string]func(string) error{
		"user":  func(s string) (err error) { uid, err = strconv.Atoi(s); return },
		"clock": func(s string) error { clock = s; return nil },
	})
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start [-user=UID] [-clock=DURATION] NAME PROGRAM [ARG...]")
	}
	w := settingOf(ts)
	name := args[0]
	if old := w.programs[name]; old != nil && !old.HasEnded() {
		ts.Fatalf("%s is running already", name)
	}
	bin, err := world.Programs()
	ts.Check(err)
	program := filepath.Join(bin, args[1])
	if _, err := os.Stat(program); err != nil {
		program = systemProgram(args[1])
	}
	cmd := exec.Command(program, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if uid >= 0 {
		cmd.Dir = ts.Getenv("DIR") // see lent
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	var p *world.Process
	if clock == "" {
		p, err = world.Launch(cmd)
	} else {
		p, err = w.launchWithClock(ts, name, cmd, clock)
	}
	ts.Check(err)
	w.programs[name] = p
	w.streams[name], w.streams[name+".out"] = &p.Log, &p.Out
}

// launchWithClock starts a program with a clock of its own.
func (w *setting) launchWithClock(ts *testscript.TestScript, name string, cmd *exec.Cmd, by string) (*world.Process, error) {
	d, err := time.ParseDuration(by)
	ts.Check(err)
	if old := w.clocks[name]; old != nil {
		old.close()
	}
	p, c, err := launchWithClock(cmd, d)
	if err == nil {
		w.clocks[name] = c
	}
	return p, err
}

// clockCommand is the command
//
//	clock NAME DURATION
//
// It sets the clock of a program that was started with -clock so far before the machine's,
// or behind it.
func clockCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: clock NAME DURATION")
	}
	c := settingOf(ts).clocks[args[0]]
	if c == nil {
		ts.Fatalf("%s has no clock of its own", args[0])
	}
	d, err := time.ParseDuration(args[1])
	ts.Check(err)
	ts.Check(c.set(d))
}

// systemProgram returns the path of a program of the system.
func systemProgram(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name) // where only root looks
}

// environment is the story's, as far as a program makes use of it.
func environment(ts *testscript.TestScript) []string {
	names := []string{"PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "VISIT_VIA", "VISIT_PLAIN", "VISIT_ROOT"}
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

// over returns a channel that is closed when the writer of a stream has ended.
func (w *setting) over(stream string) <-chan struct{} {
	for name, p := range w.programs {
		if stream == name || stream == name+".out" {
			return p.Ended()
		}
	}
	return nil
}

func (w *setting) program(ts *testscript.TestScript, name string) *world.Process {
	p := w.programs[name]
	if p == nil {
		ts.Fatalf("no program is called %s", name)
	}
	return p
}

// signalProgram is the command
//
//	signal NAME TERM|INT|HUP|KILL|STOP|CONT
func signalProgram(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP,
		"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME TERM|INT|HUP|KILL|STOP|CONT")
	}
	ts.Check(settingOf(ts).program(ts, args[0]).Cmd.Process.Signal(signals[args[1]]))
}

// ended is the command
//
//	[!] ended [-in=DURATION] NAME [CODE]
//
// It waits until the program has ended, with that exit code; -1 is by a signal.
// Negated, the program must be running.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	limit := world.Patience
	args = flags(ts, args, map[string]func(string) error{
		"in": func(s string) (err error) { limit, err = time.ParseDuration(s); return },
	})
	if len(args) != 2 && !(neg && len(args) == 1) {
		ts.Fatalf("usage: [!] ended [-in=DURATION] NAME [CODE]")
	}
	p := settingOf(ts).program(ts, args[0])
	if neg {
		if p.HasEnded() {
			ts.Fatalf("%s has ended: %v", args[0], p.Cmd.ProcessState)
		}
		return
	}
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	select {
	case <-p.Ended():
	case <-time.After(limit):
		ts.Fatalf("%s has not ended after %v", args[0], limit)
	}
	if got := p.Cmd.ProcessState.ExitCode(); got != code {
		ts.Fatalf("%s: exit code %d, expected %d", args[0], got, code)
	}
	p.Expect()
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
