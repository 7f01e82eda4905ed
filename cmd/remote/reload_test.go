package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"keystay/config"
	"keystay/remote"
)

// A look sees what is written, renamed into place, behind another link, and gone.
func TestLookSeesEachWayToChangeAFile(t *testing.T) {
	dir := t.TempDir()
	file, link, other := filepath.Join(dir, "remote.yaml"), filepath.Join(dir, "users"), filepath.Join(dir, "other")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(file, "a")
	write(other, "a")
	must(os.Symlink(file, link))
	p := &process{file: file, cfg: &config.Remote{Services: []config.Service{{Gates: []config.Gate{{PasswordFile: link}}}}}}
	for i, step := range []struct {
		do   func()
		want []string
	}{
		{func() {}, nil},
		{func() { write(file, "ab") }, []string{file, link}},
		{func() { must(os.Rename(other, file)) }, []string{file, link}},
		{func() { write(other, "a"); must(os.Remove(link)); must(os.Symlink(other, link)) }, []string{link}},
		{func() { must(os.Remove(other)) }, []string{link}},
		{func() {}, nil},
		{func() { write(other, "a") }, []string{link}},
	} {
		before := p.look()
		step.do()
		if got := differ(p.look(), before); !slices.Equal(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// A configuration that is wrong changes nothing, and each of its mistakes is said with
// its line and what to do.
func TestMistakeKeepsTheConfiguration(t *testing.T) {
	var log bytes.Buffer
	cfg := &config.Remote{Services: []config.Service{{Domains: []string{"a.relay.test"}}}}
	device, err := remote.Open(remote.DeviceConfig{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	p := &process{file: "remote.yaml", cfg: cfg, device: device, log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, err := range []error{
		config.Errors{{From: "remote.yaml", Line: 3, Key: "services[0].local", Message: "no host", Hints: []string{"a hint"}}, {From: "remote.yaml", Line: 7, Message: "other"}},
		fmt.Errorf("users: %w", errors.New("line 1: no hash")),
	} {
		p.load = func() (*config.Remote, []config.Warning, error) { return nil, nil, err }
		p.reload()
	}
	if p.cfg != cfg {
		t.Errorf("%+v is in effect", p.cfg)
	}
	if p.isMended() {
		t.Error("it counts as mended")
	}
	p.load = func() (*config.Remote, []config.Warning, error) { return cfg, nil, nil }
	cfg.Services[0].Routes = []config.Route{{Path: "/", Local: config.Local{Kind: config.LocalText}}}
	if !p.isMended() {
		t.Error("it does not count as mended, where a file was missing")
	}
	for _, want := range []string{
		`in use" err="remote.yaml:3: no host" key=services[0].local hint="a hint"`, `in use" err="remote.yaml:7: other"`, `in use" err="users: line 1: no hash"`,
	} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("it does not say %s:\n%s", want, log.String())
		}
	}
}

// Each setting is taken up, said to take a restart, or a matter of the services.
func TestEachSettingIsLiveOrFixed(t *testing.T) {
	live := []string{"Services", "Listen", "Token", "TokenFile", "DrainTimeout", "LogLevel"}
	aside := []string{"Domain", "LogAsked"} // of other commands, and of the start
	for f := range reflect.TypeFor[config.Remote]().Fields() {
		changed := new(config.Remote)
		v := reflect.ValueOf(changed).Elem().FieldByIndex(f.Index)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int64:
			v.SetInt(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is of a kind that this test does not know", f.Name)
		}
		isFixed := slices.ContainsFunc(fixed, func(s fixedSetting) bool { return !reflect.DeepEqual(s.of(changed), s.of(new(config.Remote))) })
		if want := !slices.Contains(live, f.Name) && !slices.Contains(aside, f.Name); isFixed != want {
			t.Errorf("%s is said to take a restart: %v, want %v", f.Name, isFixed, want)
		}
	}
}

// A name whose service takes a new listener is served on at once: the one before has left
// the name by then. One processor alone keeps what works beside from doing so earlier.
func TestNameThatTakesANewListenerIsServedOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var log bytes.Buffer
	text := config.Local{Kind: config.LocalText}
	web := config.Service{Domains: []string{"a.relay.test"}, Routes: []config.Route{{Path: "/", Local: text}}}
	raw := config.Service{Domains: []string{"a.relay.test"}, Raw: &config.Local{Kind: config.LocalTCP, Address: "127.0.0.1:1"}}
	p := &process{log: slog.New(slog.NewTextHandler(&log, nil)), cfg: &config.Remote{
		StateDir: t.TempDir(), Relays: []string{"relay.test"}, RelayAddresses: []string{"127.0.0.1:1"}, Services: []config.Service{web},
	}}
	p.cut = t.Context()
	p.drain, p.endDrain = context.WithCancel(t.Context())
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	for i := range 20 {
		p.cfg.Services = []config.Service{[]config.Service{raw, web}[i%2]}
		p.change(new(reloaded))
	}
	p.mu.Unlock()
	p.finish(errors.New("the test is over"))
	if said := log.String(); strings.Contains(said, "not served") || strings.Count(said, "added=nothing changed=a.relay.test gone=nothing") != 20 {
		t.Error(said)
	}
}

// A gate counts from the next request on, also over a connection that was made to the
// listener before, where the name takes a new one.
func TestGateCountsForVisitorsOfTheListenerBefore(t *testing.T) {
	text := config.Local{Kind: config.LocalText}
	open := config.Service{Domains: []string{"a.relay.test"}, Routes: []config.Route{{Path: "/", Local: text}}}
	gated := open
	gated.Gates = []config.Gate{{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
	spoken := gated
	spoken.ALPN = []config.Protocols{{Names: []string{"mqtt"}, Local: config.Local{Kind: config.LocalTCP, Address: "127.0.0.1:1"}}}
	moved := gated
	moved.Relays, moved.RelayAddresses = []string{"other.test"}, []string{"127.0.0.1:1"}
	for what, next := range map[string]config.Service{"in place": gated, "another protocol": spoken, "another relay": moved} {
		p := &process{log: slog.New(slog.DiscardHandler), cfg: &config.Remote{
			StateDir: t.TempDir(), Relays: []string{"relay.test"}, RelayAddresses: []string{"127.0.0.1:1"}, Services: []config.Service{open},
		}}
		p.cut = t.Context()
		p.drain, p.endDrain = context.WithCancel(t.Context())
		if err := p.open(); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		before := p.names[name{domain: "a.relay.test"}].site
		ask := func() int {
			w := httptest.NewRecorder()
			before.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://a.relay.test/", nil))
			return w.Code
		}
		if got := ask(); got != http.StatusOK {
			t.Errorf("%s: status %d before", what, got)
		}
		p.cfg.Services = []config.Service{next}
		p.change(new(reloaded))
		if got := ask(); got != http.StatusForbidden {
			t.Errorf("%s: status %d, want %d", what, got, http.StatusForbidden)
		}
		p.mu.Unlock()
		p.finish(errors.New("the test is over"))
	}
}
