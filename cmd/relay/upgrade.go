//go:build linux || darwin || freebsd

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startTimeout is how long a new process that the old one has started may take
// until it asks to take over; then it is killed.
const startTimeout = 15 * time.Second

// programPath returns where the program was found when it was called: not what
// has become of that file since, nor what a link leads to, since an upgrade
// renames the one and turns the other.
func programPath() (string, error) {
	file, err := exec.LookPath(os.Args[0])
	if err != nil {
		return os.Executable()
	}
	return filepath.Abs(file)
}

// upgradeSignal returns the channel of SIGUSR2. From now on that signal never
// ends the process.
func upgradeSignal() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	return c
}

// wait waits until the process is to drain, and then returns nothing; or until a
// new one has taken over, and then returns what the old one is to do; or until it
// cannot go on.
func (p *process) wait(drain, cut context.Context) (*oldProcess, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	requests := p.requests(ctx)
	var started newProcess
	defer func() { started.kill() }()
	for {
		select {
		case err := <-p.failed:
			return nil, err
		case <-drain.Done():
			return nil, nil
		case <-p.renew:
			p.begin(&started)
		case <-p.upgrade:
			p.begin(&started)
		case err := <-started.ended:
			started = newProcess{}
			p.notify("READY=1")
			p.log.Error("the new process ended before it had taken over; the old one goes on", "err", err)
		case <-started.late:
			started.kill()
		case o := <-requests:
			if err := p.offer(cut, o); err != nil {
				p.log.Error("nothing was taken over; the old process goes on", "err", err)
				started.kill()
				continue
			}
			p.notify(fmt.Sprintf("MAINPID=%d\nREADY=1", o.PID))
			if started.cmd != nil && started.cmd.Process.Pid == o.PID {
				started = newProcess{}
			}
			return &oldProcess{o}, nil
		}
	}
}

// A newProcess is one that the old process has started to take over. The zero value
// is none.
type newProcess struct {
	cmd   *exec.Cmd
	ended <-chan error
	late  <-chan time.Time
}

// kill ends the process, if there is one; ended tells when it has.
func (n *newProcess) kill() {
	if n.cmd != nil {
		n.cmd.Process.Kill()
	}
}

// begin starts a new process, unless there is one.
func (p *process) begin(started *newProcess) {
	if started.cmd != nil {
		p.log.Warn("a new process has been started already")
		return
	}
	var err error
	if *started, err = p.startNew(); err != nil {
		p.log.Error("cannot start a new process", "err", err)
	}
}

// startNew starts the program anew, from the file that it was started from, with
// the same arguments and environment, to take over from the old process.
func (p *process) startNew() (newProcess, error) {
	cmd := exec.Command(p.program)
	cmd.Args = append([]string(nil), os.Args...)
	if !takesOver(cmd.Args) {
		cmd.Args = append(cmd.Args, "--takeover")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	p.log.Info("starting a new process", "file", p.program)
	p.notify("RELOADING=1")
	if err := cmd.Start(); err != nil {
		p.notify("READY=1")
		return newProcess{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return newProcess{cmd: cmd, ended: ended, late: time.After(startTimeout)}, nil
}

func takesOver(args []string) bool {
	for _, a := range args {
		if a == "--takeover" || strings.HasPrefix(a, "--takeover=") {
			return true
		}
	}
	return false
}
