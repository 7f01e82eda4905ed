//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/e2e/internal/world"
)

// A socketWatch looks again and again which sockets a process listens on.
type socketWatch struct {
	stop, stopped chan struct{}

	heard chan struct{}   // closed once a socket was found, or a look failed
	looks int             // read after stopped is closed
	found map[string]bool // likewise
}

// lookEvery is the time between two looks. A port for a CA's validation is
// open for much longer than that.
const lookEvery = 5 * time.Millisecond

// watchSockets is the command
//
//	watch NAME
//
// It begins to look at the sockets of a program.
func watchSockets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: watch NAME")
	}
	w := settingOf(ts)
	p := w.program(ts, args[0])
	watch := &socketWatch{stop: make(chan struct{}), stopped: make(chan struct{}),
		heard: make(chan struct{}), found: make(map[string]bool)}
	w.watches[args[0]] = watch
	go watch.run(p.Cmd.Process.Pid)
	ts.Defer(watch.end)
}

func (s *socketWatch) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.stopped
}

func (s *socketWatch) run(pid int) {
	defer close(s.stopped)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		found, err := listeningSockets(pid)
		if err != nil {
			found = append(found, err.Error())
		}
		if len(found) > 0 && len(s.found) == 0 {
			close(s.heard)
		}
		for _, addr := range found {
			s.found[addr] = true
		}
		if err != nil {
			return
		}
		s.looks++
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

// sockets is the command
//
//	[!] sockets NAME
//
// It ends the watch of a program once a look has found a socket that the
// program listens on. Negated, it ends the watch at once, and none of at least
// two looks may have found one: a busy machine looks seldom, and another one
// several hundred times.
func sockets(ts *testscript.TestScript, neg bool, args []string) {
	w := settingOf(ts)
	if len(args) != 1 || w.watches[args[0]] == nil {
		ts.Fatalf("usage: [!] sockets NAME, after watch NAME")
	}
	watch := w.watches[args[0]]
	if !neg {
		select {
		case <-watch.heard:
		case <-time.After(world.Patience):
		}
	}
	watch.end()
	const enough = 2
	if neg && watch.looks < enough {
		ts.Fatalf("looked %d times only: %v", watch.looks, watch.found)
	}
	if neg != (len(watch.found) == 0) {
		ts.Fatalf("%s listened on %v in %d looks", args[0], watch.found, watch.looks)
	}
}

// listeningSockets returns the local addresses of a process's listening
// sockets, as the kernel writes them, in order.
func listeningSockets(pid int) ([]string, error) {
	own := make(map[string]bool)
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		if link, err := os.Readlink(dir + "fd/" + fd.Name()); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	var found []string
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(dir + table)
		if err != nil {
			continue // no such protocol here
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			const state, inode, listen = 3, 9, "0A"
			if c := strings.Fields(s.Text()); len(c) > inode && c[state] == listen && own[c[inode]] {
				found = append(found, c[1])
			}
		}
		f.Close()
	}
	slices.Sort(found)
	return found, nil
}

// lent is the command
//
//	lent UID
//
// It makes what a remote run by that user needs: a folder of its own for
// state, and the roots where it can read them. $DIR is that folder.
func lent(ts *testscript.TestScript, neg bool, args []string) {
	var uid int
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lent UID")
	}
	_, err := fmt.Sscan(args[0], &uid)
	ts.Check(err)
	dir, err := os.MkdirTemp("", "keystay-lent-")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	for _, key := range []string{"KEYSTAY_REMOTE_RELAY_ROOT", "KEYSTAY_REMOTE_ACME_ROOT"} {
		file := dir + "/" + key + ".pem"
		ts.Check(os.WriteFile(file, []byte(ts.ReadFile(ts.Getenv(key))), 0o600))
		ts.Check(os.Chown(file, uid, uid))
		ts.Setenv(key, file)
	}
	ts.Check(os.Chown(dir, uid, uid))
	ts.Setenv("DIR", dir)
	ts.Setenv("KEYSTAY_REMOTE_STATE_DIR", dir+"/state")
	ts.Setenv("HOME", dir)
}
