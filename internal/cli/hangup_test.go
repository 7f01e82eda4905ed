//go:build unix

package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/cli"
)

// hangupEnv makes this test's own program one that is hung up on.
const hangupEnv = "KEYSTAY_TEST_HANGUP"

// Without a terminal SIGHUP never ends the program: it comes out of the channel, or is ignored
// where it was before. Nor does SIGPIPE, or SIGHUP at the end.
func TestHangupsAreSurvived(t *testing.T) {
	if os.Getenv(hangupEnv) != "" {
		c, stop := cli.Hangups()
		syscall.Kill(os.Getpid(), syscall.SIGPIPE)
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		if os.Getenv(hangupEnv) == "heard" {
			<-c
		} else if !signal.Ignored(syscall.SIGHUP) {
			t.Error("SIGHUP is not ignored any more")
		}
		stop()
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		if _, more := <-c; more {
			t.Error("a second one")
		}
		return
	}
	if signal.Ignored(syscall.SIGHUP) { // under nohup; what is caught here, a program that is started gets as usual
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGHUP)
		defer signal.Stop(c)
	}
	for how, before := range map[string]string{"heard": "", "ignored": "trap '' HUP; "} {
		cmd := exec.Command("/bin/sh", "-c", before+`exec "$0" -test.run TestHangupsAreSurvived`, os.Args[0])
		cmd.Env = append(os.Environ(), hangupEnv+"="+how)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
}

// Why visitors were cut off is said in plain words, whatever ended the wait.
func TestCutIsExplained(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		err   error
		limit time.Duration
		want  string
	}{
		{context.Canceled, time.Minute, "a second signal ended the wait"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), time.Minute, "they had not finished after 1m0s"},
		{context.DeadlineExceeded, 0, "drain-timeout is 0s"},
		{other, time.Minute, "other"},
	} {
		if got := cli.CutReason(c.err, c.limit); got.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.err, got, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		cli.TellDrain(slog.New(slog.DiscardHandler), 0, func() int { t.Error("a drain of 0s is told"); return 1 })
		time.Sleep(time.Second)
	})
}

// A drain is told only when it lasts and somebody is left.
func TestDrainIsToldWhenItWaitsForSomebody(t *testing.T) {
	for _, c := range []struct {
		visitors int
		lasts    time.Duration
		told     bool
	}{{2, time.Second, true}, {0, time.Second, false}, {2, time.Millisecond, false}} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			stop := cli.TellDrain(slog.New(slog.NewTextHandler(&out, nil)), 30*time.Second, func() int { return c.visitors })
			time.Sleep(c.lasts)
			stop()
			synctest.Wait()
			got := out.String()
			if !c.told && got != "" {
				t.Errorf("%+v: %s", c, got)
			}
			if c.told && !(strings.Contains(got, "msg=draining visitors=2 for=30s until=") && strings.Contains(got, "a second Ctrl-C or SIGTERM cuts them off")) {
				t.Errorf("%+v: %s", c, got)
			}
		})
	}
}
