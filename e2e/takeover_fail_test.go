//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/internal/handover"
)

// Whatever goes wrong in a process that is to take over, the running one goes
// on, loses nothing and can still be taken over from.
func TestFailedTakeoverLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	v := &load{l: l, ctx: ctx}
	var calm sync.RWMutex // locked to have no visitor
	tr := l.transport()
	tr.DisableKeepAlives = true
	v.repeat("one after the other", &v.short, func() error {
		calm.RLock()
		defer calm.RUnlock()
		return l.fetch(ctx, tr, rand.Int64N(20000), 0)
	})
	goesOn := func(t *testing.T) {
		t.Helper()
		for goal := v.short.Load() + 5; v.short.Load() < goal && t.Context().Err() == nil; <-time.After(time.Millisecond) {
			v.mu.Lock()
			failures := v.failures
			v.mu.Unlock()
			if len(failures) > 0 {
				t.Fatal(failures)
			}
		}
		// The record of names is open again: it tells that nobody has this one.
		unknown := l.client.Clone()
		unknown.ServerName = "nobody." + takeoverRelay
		d := tls.Dialer{Config: unknown}
		for start := time.Now(); ; <-time.After(20 * time.Millisecond) {
			_, err := d.Dial("tcp", l.public)
			if strings.Contains(fmt.Sprint(err), "unrecognized name") {
				break
			}
			if time.Since(start) > takeoverPatience {
				t.Fatalf("an unknown name: %v", err)
			}
		}
	}
	goesOn(t)
	calm.Lock()
	before := l.descriptors()
	calm.Unlock()

	// Processes that are started by hand.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	byHand := map[string]struct {
		yaml string
		code int
		says string
	}{
		"a mistake in the file":   {l.yaml("127.0.0.1:0") + "nonsense: 1\n", 2, "nonsense"},
		"no certificate":          {strings.Replace(l.yaml("127.0.0.1:0"), "relaycert/cert", "relaycert/none", 1), 2, "none.pem"},
		"another state_dir":       {strings.Replace(l.yaml("127.0.0.1:0"), "dir: state", "dir: state2", 1), 1, "no relay is running on this state_dir"},
		"an address that is used": {l.yaml(other.Addr().String()), 1, "listen for public"},
	}
	for name, tt := range byHand {
		t.Run(name, func(t *testing.T) {
			l.write("wrong.yaml", tt.yaml)
			out, err := exec.Command(filepath.Join(l.bin, "relay"), "--config", l.path("wrong.yaml"), "--takeover").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("%v\n%s", err, out)
			}
			goesOn(t)
		})
	}
	t.Run("the record of names does not open", func(t *testing.T) {
		names := l.path("state/names.db")
		if err := os.Rename(names, names+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(names, 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(filepath.Join(l.bin, "relay"), "--config", l.config, "--takeover").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "names.db") {
			t.Errorf("%v\n%s", err, out)
		}
		l.logged("cannot open the record of names again")
		if err := errors.Join(os.Remove(names), os.Rename(names+".away", names)); err != nil {
			t.Fatal(err)
		}
		l.logged("the record of names is open again")
		goesOn(t)
	})

	// Processes that break off, or hang, at each step.
	hang := make(chan struct{})
	steps := map[string]func(p *handover.New) error{
		"says nothing and ends": func(p *handover.New) error { return nil },
		"takes and ends":        func(p *handover.New) error { return take(p) },
		"takes and complains": func(p *handover.New) error {
			err := take(p)
			p.Fail(errors.New("it does not please me"))
			return err
		},
		"takes and hangs": func(p *handover.New) error {
			err := take(p)
			<-hang
			return err
		},
		"is ready and ends": func(p *handover.New) error { return errors.Join(take(p), p.Ready()) },
		"is ready and hangs": func(p *handover.New) error {
			err := errors.Join(take(p), p.Ready())
			<-hang
			return err
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			failures := l.count("nothing was taken over")
			p, err := handover.Dial(l.path("state/relay.sock"))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				err := step(p)
				p.Close()
				done <- err
			}()
			if strings.HasSuffix(name, "hangs") {
				for start := time.Now(); l.count("nothing was taken over") == failures; <-time.After(10 * time.Millisecond) {
					if time.Since(start) > takeoverPatience {
						t.Fatal("the relay still waits")
					}
				}
				hang <- struct{}{}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			goesOn(t)
		})
	}

	// Programs that the running one starts in the place of itself.
	file := filepath.Join(l.bin, "relay")
	for name, script := range map[string]string{
		"a program that ends":      "exit 1",
		"a program that is killed": "kill -9 $$",
		"not a program":            "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Rename(file, file+".away"); err != nil {
				t.Fatal(err)
			}
			text := "#!/bin/sh\n" + script + "\n"
			if script == "" {
				text = "noise"
			}
			if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(l.main, syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			l.notified("RELOADING=1")
			l.notified("^READY=1")
			if err := os.Rename(file+".away", file); err != nil {
				t.Fatal(err)
			}
			goesOn(t)
		})
	}

	calm.Lock()
	after := l.descriptors()
	calm.Unlock()
	if len(after) > len(before) {
		t.Errorf("descriptors before: %q\nafter: %q", before, after)
	}
	old := l.main
	l.takeOver()
	goesOn(t)
	if n := listeningOf(t, old); len(n) > 0 {
		t.Errorf("process %d still listens on %v", old, n)
	}
	stop()
	v.wg.Wait()
	l.end()
}

func take(p *handover.New) error {
	sockets, _, err := p.Take()
	for _, s := range sockets {
		s.Listener.Close()
	}
	return err
}
