package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/remote/relays"
)

// autoConfig is a configuration with a relay out of a list, which is not there yet.
func autoConfig(t *testing.T, args ...string) *config.Remote {
	t.Helper()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	list := filepath.Join(t.TempDir(), "relays.json")
	if err := os.WriteFile(list, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse(append([]string{"--relay", "auto", "--relay-list", list, "--state-dir", filepath.Join(t.TempDir(), "state"), "--local", "3000", "--proxy", "none"}, args...)); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.LoadRemote(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// The relay that was taken is the one of every start from then on, and the list is not
// looked at.
func TestTakenRelayIsTheRelay(t *testing.T) {
	cfg := autoConfig(t)
	if _, _, err := loaded(cfg, nil, nil); err != nil || len(cfg.Relays) > 0 {
		t.Fatalf("%q, %v", cfg.Relays, err)
	}
	if _, err := (relays.Keep{StateDir: cfg.StateDir}).Take(relays.Taken{Relay: "relay.test:8443"}, false); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.RelayList); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loaded(cfg, nil, nil); err != nil || !slices.Equal(cfg.Relays, []string{"relay.test:8443"}) {
		t.Errorf("%q, %v", cfg.Relays, err)
	}
	p := &process{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if err := p.takeRelay(); err != nil {
		t.Error(err)
	}
}

// A list that is not there yet is looked for again, until --wait is over or the run ends.
func TestRelayIsLookedForAgain(t *testing.T) {
	cfg := autoConfig(t, "--wait", "1m")
	if err := os.Remove(cfg.RelayList); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &process{cfg: cfg, log: slog.New(slog.NewTextHandler(&log, nil))}
		p.drain, p.endDrain = context.WithCancel(t.Context())
		began := time.Now()
		if err := p.takeRelay(); !errors.Is(err, fs.ErrNotExist) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if n := strings.Count(log.String(), "trying again"); n != 4 { // at 0, 5, 15 and 35 seconds
			t.Errorf("%d tries:\n%s", n, log.String())
		}
		forever := *cfg
		forever.Wait = 0
		p.cfg = &forever
		time.AfterFunc(time.Hour, p.endDrain)
		if err := p.takeRelay(); err != nil || len(p.cfg.Relays) > 0 {
			t.Errorf("%v, %q", err, p.cfg.Relays)
		}
	})
}

// A relay that was taken and is away is told of after half an hour, and then once a day.
func TestTakenRelayThatIsAwayIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var up atomic.Bool
		up.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			tellAway(ctx, slog.New(slog.NewTextHandler(&log, nil)), "relay.test", up.Load)
		}()
		for _, c := range []struct {
			up    bool
			pass  time.Duration
			lines int
		}{
			{true, 48 * time.Hour, 0}, {false, 29 * time.Minute, 0}, {true, 2 * time.Minute, 0},
			{false, 31 * time.Minute, 1}, {false, 23 * time.Hour, 1}, {false, 2 * time.Hour, 2},
			{true, time.Hour, 2}, {false, time.Hour, 3},
		} {
			up.Store(c.up)
			time.Sleep(c.pass)
			synctest.Wait()
			if n := strings.Count(log.String(), "relay=relay.test"); n != c.lines {
				t.Errorf("%d lines after %+v, want %d", n, c, c.lines)
			}
		}
		cancel()
		<-done
		if !strings.Contains(log.String(), "remote relays --take") {
			t.Error(log.String())
		}
	})
}

// What a relay must have follows from what is published, but for services with a relay of
// their own.
func TestNeedsOfAConfiguration(t *testing.T) {
	raw := &config.Local{}
	for what, c := range map[string]struct {
		services []config.Service
		want     relays.Need
	}{
		"a name of the key": {[]config.Service{{Words: []string{""}}}, relays.Need{KeyName: true}},
		"whole names":       {[]config.Service{{Domains: []string{"b.test", "a.test"}}, {Domains: []string{"b.test"}}}, relays.Need{Domains: []string{"a.test", "b.test"}}},
		"a port":            {[]config.Service{{Port: 22, Raw: raw}}, relays.Need{Ports: true}},
		"its own relay":     {[]config.Service{{Words: []string{"x"}}, {Domains: []string{"b.test"}, Relays: []string{"b"}}}, relays.Need{KeyName: true}},
	} {
		n := need(&config.Remote{StateDir: t.TempDir(), Services: c.services})
		if n.HasToken("relay.test") {
			t.Errorf("%s: there is a token", what)
		}
		n.HasToken = nil
		if !reflect.DeepEqual(n, c.want) {
			t.Errorf("%s: %+v", what, n)
		}
	}
}
