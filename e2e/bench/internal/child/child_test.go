//go:build linux

package child

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const patience = 20 * time.Second

// TestMain lets this program start itself as one that has a child.
func TestMain(m *testing.M) {
	if os.Getenv("KEYSTAY_PARENT") == "" {
		os.Exit(m.Run())
	}
	p, err := NewGroup().Start(Options{}, "sleep", "1000")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.cmd.Process.Pid)
	<-time.After(patience)
}

func group(t *testing.T) *Group {
	g := NewGroup()
	t.Cleanup(g.Close)
	return g
}

func afterReady(line string) (string, bool) { return strings.CutPrefix(line, "ready ") }

func TestReadyChildIsToldAndEnds(t *testing.T) {
	entered := false
	p, err := group(t).Start(Options{Ready: afterReady, Enter: func(f func() error) error { entered = true; return f() }},
		"sh", "-c", "echo hello; echo ready 5; read x; echo it was $x; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if p.Address != "5" || !entered || p.Err() != nil {
		t.Errorf("address %q, entered %v, %v", p.Address, entered, p.Err())
	}
	if err := p.Tell("this"); err != nil {
		t.Error(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("it has not ended")
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "it was this") {
		t.Errorf("it ended with %v", err)
	}
}

// What ends before it is ready says why.
func TestChildThatEndsEarlySaysWhy(t *testing.T) {
	for _, script := range []string{"echo no port >&2; exit 1", "echo no port"} {
		if _, err := group(t).Start(Options{Ready: afterReady}, "sh", "-c", script); err == nil || !strings.Contains(err.Error(), "no port") {
			t.Errorf("%s: %v", script, err)
		}
	}
	if _, err := group(t).Start(Options{}, "/nowhere/relay"); err == nil || !strings.Contains(err.Error(), "relay") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestCPUIsOfTheChild(t *testing.T) {
	g := group(t)
	p, err := g.Start(Options{}, "sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; {
		used, err := p.CPU()
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); used > took+50*time.Millisecond {
			t.Fatalf("%v of processor time in %v", used, took)
		} else if took > patience {
			t.Fatalf("only %v of processor time in %v", used, took)
		}
		if used > 20*time.Millisecond {
			break
		}
	}
	if n, err := p.Resident(); err != nil || n < 100<<10 || n > 100<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := p.Descriptors(); err != nil || n < 3 || n > 20 {
		t.Errorf("%d descriptors, %v", n, err)
	}
	p.Stop()
	p.Stop()
	if p.Err() == nil {
		t.Error("it runs after Stop")
	}
	if len(g.all) != 0 {
		t.Error("it is still in the group")
	}
}

// Whatever ends this program, its children end.
func TestChildrenEndWithTheirParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "KEYSTAY_PARENT=1")
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(out)
	s.Scan()
	state := "/proc/" + s.Text() + "/stat"
	if _, err := os.Stat(state); err != nil {
		t.Fatal(err)
	}
	parent.Process.Kill()
	parent.Wait()
	for start := time.Now(); time.Since(start) < patience; <-time.After(time.Millisecond) {
		b, err := os.ReadFile(state)
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
	}
	t.Error("the child lives on")
}
