//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGTERM at the relay or the remote: who is there is served to the end, and
// the programs end by themselves then.
func TestWhoIsServedIsServedToTheEndOfADrain(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"relay", "remote", "relay in the middle of a takeover"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			l := newLineage(t)
			tr := l.transport()
			done := make(chan error, 9)
			for i := range 8 {
				go func() {
					err := l.fetch(context.Background(), tr, 1<<20+int64(i), 50*time.Millisecond)
					if err != nil {
						err = fmt.Errorf("download %d: %w", i, err)
					}
					done <- err
				}()
			}
			go func() { done <- (&load{l: l}).upload(tr) }()
			l.visitors(9)
			pid := l.main
			switch which {
			case "remote":
				pid = l.remote.Process.Pid
			case "relay in the middle of a takeover":
				l.takeOver()
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for range cap(done) {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			tr.CloseIdleConnections()
			switch which { // they end by themselves
			case "relay":
				l.retired, l.main = append(l.retired, l.main), 0
			case "remote":
				if err := l.remote.Wait(); err != nil {
					t.Errorf("the remote: %v", err)
				}
			}
			l.end()
		})
	}
}

// The second signal cuts, by a reset. Visitors would have longer to finish than
// this test waits, and the download goes on for minutes: that a program ends at
// all shows what the signal did.
func TestSecondSignalCuts(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"relay", "remote"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			l := emptyLineage(t)
			l.write("relay.yaml", l.yaml("127.0.0.1:0")+"drain_timeout: 1h\n")
			l.startRelay()
			l.startRemote("--drain-timeout", "1h")
			done := make(chan error, 1)
			go func() { done <- l.fetch(context.Background(), l.transport(), 1<<30, 50*time.Millisecond) }()
			l.visitors(1)
			pid, says := l.main, l.log
			if which == "remote" {
				pid, says = l.remote.Process.Pid, l.path("remote.log")
			}
			syscall.Kill(pid, syscall.SIGTERM)
			waitForText(t, says, "msg=draining")
			syscall.Kill(pid, syscall.SIGTERM)
			if which == "relay" {
				l.ends(l.main)
				l.main = 0
			} else if err := l.remote.Wait(); err != nil {
				t.Error(err)
			}
			if err := <-done; err == nil {
				t.Error("the download looks complete")
			}
			waitForText(t, says, "were cut off")
		})
	}
}

func waitForText(t *testing.T, file, text string) {
	t.Helper()
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return
		}
		if time.Since(start) > takeoverPatience {
			t.Fatalf("%q is not in %s", text, file)
		}
	}
}
