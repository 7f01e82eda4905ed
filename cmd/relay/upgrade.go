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

// startTimeout is how long a process that this one has started may take until it
// asks to take over; then it is killed.
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

// wait waits until the process is to drain, and then returns nothing; or until
// another one has taken over, which it returns; or until it cannot go on.
func (p *process) wait(drain, cut context.Context) (heir, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	requests := p.requests(ctx)
	var next child
	defer func() { next.kill() }()
	for {
		select {
		case err := <-p.failed:
			return nil, err
		case <-drain.Done():
			return nil, nil
		case <-p.upgrade:
			if next.cmd != nil {
				p.log.Warn("a process that takes over has been started already")
				continue
			}
			var err error
			if next, err = p.startNext(); err != nil {
				p.log.Error("cannot start a process that takes over", "err", err)
			}
		case err := <-next.ended:
			next = child{}
			p.notify("READY=1")
			p.log.Error("the new process ended before it had taken over; this one goes on", "err", err)
		case <-next.late:
			next.kill()
		case s := <-requests:
			if err := p.offer(cut, s); err != nil {
				p.log.Error("nothing was taken over; this process goes on", "err", err)
				next.kill()
				continue
			}
			p.notify(fmt.Sprintf("MAINPID=%d\nREADY=1", s.PID))
			if next.cmd != nil && next.cmd.Process.Pid == s.PID {
				next = child{}
			}
			return successor{s}, nil
		}
	}
}

// A child is a process that was started to take over. The zero value is none.
type child struct {
	cmd   *exec.Cmd
	ended <-chan error
	late  <-chan time.Time
}

// kill ends the process, if there is one; ended tells when it has.
func (c *child) kill() {
	if c.cmd != nil {
		c.cmd.Process.Kill()
	}
}

// startNext starts the program anew, from the file that it was started from,
// with the same arguments and environment, to take over from this process.
func (p *process) startNext() (child, error) {
	cmd := exec.Command(p.program)
	cmd.Args = append([]string(nil), os.Args...)
	if !takesOver(cmd.Args) {
		cmd.Args = append(cmd.Args, "--takeover")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	p.log.Info("starting a process that takes over", "file", p.program)
	p.notify("RELOADING=1")
	if err := cmd.Start(); err != nil {
		p.notify("READY=1")
		return child{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return child{cmd: cmd, ended: ended, late: time.After(startTimeout)}, nil
}

func takesOver(args []string) bool {
	for _, a := range args {
		if a == "--takeover" || strings.HasPrefix(a, "--takeover=") {
			return true
		}
	}
	return false
}
