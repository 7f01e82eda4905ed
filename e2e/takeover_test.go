//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Under a constant load of short, long and idle connections relays take over
// from one another: nobody is refused, nobody is cut, every byte is right.
func TestTakeoverUnderLoad(t *testing.T) {
	times := 3 // of both kinds, and each kind after the other
	if os.Getenv(soakVariable) != "" {
		times = 100
	}
	l := newLineage(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	v := &load{l: l, ctx: ctx}
	v.run()
	start := time.Now()
	for i := range times {
		// So many new visitors are served between two takeovers, as many began
		// before the first of them.
		for goal := v.short.Load() + 25; v.short.Load() < goal; <-time.After(time.Millisecond) {
			v.mu.Lock()
			failures := len(v.failures)
			v.mu.Unlock()
			if failures > 0 || time.Since(start) > time.Duration(times)*takeoverPatience {
				t.Errorf("after %d takeovers", i)
				break
			}
		}
		if t.Failed() {
			break
		}
		if i%2 == 0 { // one follows at once, one after a while
			<-time.After(time.Second)
		}
		old := l.main
		l.takeOver()
		if n := listeningOf(t, old); len(n) > 0 {
			t.Errorf("process %d still listens on %v", old, n)
		}
	}
	took := time.Since(start)
	stop()
	v.wg.Wait()
	for _, err := range v.failures {
		t.Error(err)
	}
	slices.Sort(v.times)
	at := func(q float64) time.Duration { return v.times[int(q*float64(len(v.times)-1))].Round(time.Millisecond) }
	t.Logf("%d takeovers in %v: %d short requests (p50 %v, p99 %v, longest %v), %d long, %d on %d idle connections, %d to the relay itself; %d failed",
		times, took.Round(time.Millisecond), v.short.Load(), at(.5), at(.99), at(1), v.long.Load(), v.idle.Load(), 3, v.sites.Load(), len(v.failures))
	l.end()
}

// listeningOf returns the addresses on which a process listens, TCP and unix.
func listeningOf(t *testing.T, pid int) (list []string) {
	inodes := map[string]string{}
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
				inodes[f[9]] = name + " " + f[1]
			}
		}
	}
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n")[1:] {
		if f := strings.Fields(line); len(f) > 7 && f[3] == "00010000" { // __SO_ACCEPTCON
			inodes[f[6]] = f[7]
		}
	}
	// It closes them right after it has told the service manager.
	for start := time.Now(); time.Since(start) < takeoverPatience; <-time.After(10 * time.Millisecond) {
		list = nil
		for _, to := range descriptorsOf(pid) {
			if i, ok := strings.CutPrefix(to, "socket:["); ok && inodes[strings.TrimSuffix(i, "]")] != "" {
				list = append(list, inodes[strings.TrimSuffix(i, "]")])
			}
		}
		if len(list) == 0 {
			return nil
		}
	}
	return list
}

// descriptorsOf returns what a process has open.
func descriptorsOf(pid int) (list []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // it may have ended
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			list = append(list, to)
		}
	}
	return list
}

// The service manager's sockets are used in the place of the configuration's,
// also by the process that takes over. While no process runs nobody is refused.
func TestSocketActivationRefusesNobody(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	l.end()
	var files []*os.File
	var addrs []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addrs = append(files, f), append(addrs, ln.Addr().String())
	}
	// The second has no name of ours: its port says what it is for.
	l.write("relay.yaml", strings.Replace(l.yaml("127.0.0.1:1"), `http_listen: ["127.0.0.1:0"]`, fmt.Sprintf("http_listen: [%q]", addrs[1]), 1))
	os.Truncate(l.log, 0)
	begin := func() {
		cmd := exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`, filepath.Join(l.bin, "relay"), "--config", l.config)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+l.path("notify"), "LISTEN_FDS=2", "LISTEN_FDNAMES=public:keystay-relay.socket")
		cmd.ExtraFiles = files
		log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.main = cmd.Process.Pid
		l.notified("^READY=1")
	}
	known := func(dial func() (net.Conn, error)) {
		t.Helper()
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own := l.client.Clone()
		own.ServerName = takeoverRelay
		c.SetDeadline(time.Now().Add(takeoverPatience))
		if err := tls.Client(c, own).Handshake(); err != nil {
			t.Error(err)
		}
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", addrs[0]) }
	begin()
	l.logged("for=public addr=" + addrs[0])
	l.logged("for=http addr=" + addrs[1])
	known(dial)
	l.takeOver()
	known(dial)
	if n := l.count("for=public addr=" + addrs[0]); n != 2 {
		t.Errorf("%d processes took the socket", n)
	}
	l.end()
	early, err := dial() // while nobody is there
	if err != nil {
		t.Fatal(err)
	}
	begin()
	known(func() (net.Conn, error) { return early, nil })
	l.end()
}

// What is left in a process that was taken over from is cut, by a reset, when
// takeover_drain is over.
func TestTakeoverDrainCuts(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	old := l.main
	l.write("relay.yaml", l.yaml("127.0.0.1:0")+"takeover_drain: 300ms\n")
	l.takeOver() // to a process that knows
	done := make(chan error, 1)
	tr := l.transport()
	if err := l.fetch(context.Background(), tr, 1, 0); err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
	l.ends(old)
	l.retired = nil
	go func() { done <- l.fetch(context.Background(), tr, 1<<30, 50*time.Millisecond) }()
	l.visitors(1)
	old = l.main
	l.takeOver()
	if err := <-done; err == nil || strings.Contains(err.Error(), "hash") {
		t.Errorf("the download ended with %v", err)
	}
	l.ends(old)
	waitForText(t, l.log, "visitors were cut off")
	if err := l.fetch(context.Background(), l.transport(), 1000, 0); err != nil {
		t.Error(err)
	}
}
