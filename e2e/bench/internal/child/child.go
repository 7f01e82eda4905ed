//go:build linux

// Package child starts programs that end when this one does, whatever ends it,
// and tells what they use of the machine.
package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTime is how long a program may take until it is ready.
	startTime = 5 * time.Minute
	// keptLines is how much of what one said is kept for an error.
	keptLines = 12
)

// A Group starts programs and ends them. Make it with NewGroup.
type Group struct {
	work chan func()

	mu  sync.Mutex
	all []*Process
}

// NewGroup returns a group without a program. The caller closes it.
func NewGroup() *Group {
	g := &Group{work: make(chan func())}
	go g.spawn()
	return g
}

// spawn starts all programs. The kernel kills a program when the thread that
// started it ends, so all of them come from one thread that lives on.
func (g *Group) spawn() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range g.work {
		f()
	}
}

// Kill ends what is running, so that whoever uses it notices.
func (g *Group) Kill() {
	g.mu.Lock()
	all := slices.Clone(g.all)
	g.mu.Unlock()
	for _, p := range all {
		p.Stop()
	}
}

// Close ends what is still running. Nothing is started any more.
func (g *Group) Close() {
	g.Kill()
	close(g.work)
}

// Options say how a program is started.
type Options struct {
	// Enter runs a function where the program is to be, such as in a network
	// namespace; nil means here.
	Enter func(func() error) error

	// Files are the program's descriptors from 3 on. They are not closed.
	Files []*os.File

	// Ready looks at each line that the program says, for the word that it is
	// ready and on which address; nil means that it is ready at once.
	Ready func(line string) (address string, ok bool)
}

// A Process is a program that was started.
type Process struct {
	// Address is what Options.Ready found.
	Address string

	cmd   *exec.Cmd
	group *Group
	stdin io.WriteCloser
	ready chan string
	done  chan struct{} // closed when it has ended

	mu   sync.Mutex
	last []string // lines that it said
	err  error    // of how it ended
}

// Start starts a program and waits until it is ready. Its input stays open
// until it is stopped.
func (g *Group) Start(o Options, path string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(path, args...), group: g, ready: make(chan string, 1), done: make(chan struct{})}
	p.cmd.ExtraFiles = o.Files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	started := make(chan error)
	g.work <- func() {
		if o.Enter == nil {
			started <- p.cmd.Start()
			return
		}
		started <- o.Enter(p.cmd.Start)
	}
	err = <-started
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	g.mu.Lock()
	g.all = append(g.all, p)
	g.mu.Unlock()
	go p.watch(r, o.Ready)
	if o.Ready == nil {
		return p, nil
	}
	select {
	case p.Address = <-p.ready:
		return p, nil
	case <-p.done:
		return nil, p.Err()
	case <-time.After(startTime):
		p.Stop()
		return nil, fmt.Errorf("%s is not ready after %v:\n%s", p, startTime, p.said())
	}
}

// watch reads what the program says, until it has ended.
func (p *Process) watch(r io.ReadCloser, ready func(string) (string, bool)) {
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.last = append(p.last, s.Text())
		p.last = p.last[max(0, len(p.last)-keptLines):]
		p.mu.Unlock()
		if ready == nil {
			continue
		}
		if address, ok := ready(s.Text()); ok {
			p.ready <- address
			ready = nil
		}
	}
	err := p.cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.done)
}

func (p *Process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}

// String is the program's name.
func (p *Process) String() string { return filepath.Base(p.cmd.Path) }

// Err returns nil while the program runs, and then how it ended, with the last
// that it said.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("%s: %w:\n%s", p, err, p.said())
}

// Tell writes a line to the program.
func (p *Process) Tell(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// Stop kills the program, which has nothing that is worth an orderly end, and
// waits for it. It may be called several times.
func (p *Process) Stop() {
	p.cmd.Process.Kill()
	<-p.done
	p.stdin.Close()
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	p.group.all = slices.DeleteFunc(p.group.all, func(q *Process) bool { return q == p })
}
