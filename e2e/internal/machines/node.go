//go:build linux

package machines

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/e2e/internal/world"
)

// A Node is one node of a relay on a machine: the program, and the processes that take
// over from it.
type Node struct {
	Dir string // of its configuration, relay.yaml, and all else; short, for sockets' paths
	PID int    // of the process that serves; 0 where none does

	// Stopped, if it is not nil, is called by Launch with the program stopped before its
	// first instruction, and lets it go on: on the thread that has started it and traces it.
	Stopped func(pid int) error

	t       testing.TB
	space   world.Place
	notify  *net.UnixConn
	retired []int
}

// Node returns a node on a machine that has not been started.
func (g *Group) Node(t testing.TB, machine int) *Node {
	t.Helper()
	// A process whose parent ends becomes a child of this one, which can then wait for it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kn")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Dir: dir, t: t, space: g.Spaces[machine]}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if n.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.Path("notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Kill()
		n.notify.Close()
		if where := broken.FindString(n.Log()); where != "" {
			t.Errorf("node %d has written %q", machine, where)
		}
		if t.Failed() {
			log := n.Log()
			t.Logf("node %d has written:\n%s", machine, log[max(0, len(log)-12000):])
		}
	})
	return n
}

// broken is what no program may ever write.
var broken = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE)|a mistake in this program has ended`)

// Path is that of a file in the node's folder.
func (n *Node) Path(name string) string { return filepath.Join(n.Dir, name) }

// Write writes a file into the node's folder.
func (n *Node) Write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(n.Path(name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// Start starts the program and waits until it serves.
func (n *Node) Start() {
	n.t.Helper()
	n.Launch()
	n.Ready()
}

// Ready waits until it serves.
func (n *Node) Ready() {
	n.t.Helper()
	n.notified("READY=1")
}

// Launch starts the program.
func (n *Node) Launch() {
	n.t.Helper()
	cmd := n.command("relay", "--config", n.Path("relay.yaml"))
	log, err := os.OpenFile(n.Path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: n.Stopped != nil}
	err = n.space.Do(func() error {
		if err := cmd.Start(); err != nil || n.Stopped == nil {
			return err
		}
		return n.Stopped(cmd.Process.Pid)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.PID = cmd.Process.Pid
}

// Run runs one of the program's commands on the node's machine, and returns what it says.
func (n *Node) Run(args ...string) (string, error) {
	n.t.Helper()
	cmd := n.command("relay", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.space.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("relay %q: %w\n%s", args, err, out.String())
	}
	return out.String(), nil
}

func (n *Node) command(program string, args ...string) *exec.Cmd {
	n.t.Helper()
	programs, err := world.Programs()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, program), args...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+n.Path("notify"), "HOME="+n.Dir)
	cmd.Dir = n.Dir
	return cmd
}

// Kill ends the node's processes at once.
func (n *Node) Kill() {
	for _, pid := range append(n.retired, n.PID) {
		if pid == 0 {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		n.reap(pid)
	}
	n.PID, n.retired = 0, nil
}

// Stop lets the node end in good order.
func (n *Node) Stop() {
	_ = syscall.Kill(n.PID, syscall.SIGTERM)
	n.reap(n.PID)
	n.PID = 0
}

// reap waits for the end of a process, which may be the child of another one that ends.
func (n *Node) reap(pid int) {
	for start := time.Now(); time.Since(start) < world.Patience; {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err == syscall.ECHILD && syscall.Kill(pid, 0) == nil:
			<-time.After(10 * time.Millisecond)
		default:
			return
		}
	}
	n.t.Errorf("process %d does not end", pid)
}

// TakeOver has a new process take over from the one that serves.
func (n *Node) TakeOver() {
	n.t.Helper()
	if err := syscall.Kill(n.PID, syscall.SIGUSR2); err != nil {
		n.t.Fatal(err)
	}
	pid, err := strconv.Atoi(n.notified(`^MAINPID=(\d+)\nREADY=1`))
	if err != nil {
		n.t.Fatal(err)
	}
	n.retired = append(n.retired, n.PID)
	n.PID = pid
}

// notified waits for a message to the service manager that matches, and returns what its
// group has.
func (n *Node) notified(want string) string {
	n.t.Helper()
	re := regexp.MustCompile(want)
	n.notify.SetReadDeadline(time.Now().Add(world.Patience))
	for {
		b := make([]byte, 4096)
		k, err := n.notify.Read(b)
		if err != nil {
			n.t.Fatalf("waiting for %q: %v\n%s", want, err, n.Log())
		}
		if m := re.FindStringSubmatch(string(b[:k])); m != nil {
			return m[len(m)-1]
		}
	}
}

// Log is what the node's processes have written.
func (n *Node) Log() string {
	b, _ := os.ReadFile(n.Path("log")) // it may not have begun
	return string(b)
}
