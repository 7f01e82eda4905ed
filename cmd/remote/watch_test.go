package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
	"keystay/remote/watch"
)

// alone is a device without links, which looks at nothing near.
func alone(t *testing.T, cfg *config.Remote) (*process, *lookout) {
	t.Helper()
	cfg.StateDir = t.TempDir()
	p := &process{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	l, err := newLookout(p, func(*http.Request) (*url.URL, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	p.lookout = l
	dc, err := deviceConfig(cfg, p.log)
	if err != nil {
		t.Fatal(err)
	}
	if p.device, err = remote.Open(dc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.device.Close() })
	return p, l
}

func TestTheWatchLooksWhereTheConfigurationSays(t *testing.T) {
	_, l := alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn", ProbeDNS: "192.0.2.53:53", ProbeProxies: []config.Secret{"socks5://me:hunter2@proxy.test:1080"},
		ProbeWith: []config.ProbePeer{{Name: "b.relay.test", Port: 8443}}})
	w := l.outside
	if len(w.Resolvers) != 2 || w.Resolvers[1].Name != "192.0.2.53:53" {
		t.Errorf("%+v", w.Resolvers)
	}
	if len(w.Ways) != 2 || w.Ways[0].Name != "" || w.Ways[1].Name != "proxy.test:1080" || !w.Ways[1].Names {
		t.Errorf("%+v", w.Ways)
	}
	if len(w.Peers) != 1 || w.Peers[0].Name != "b.relay.test" || w.Peers[0].Port != 8443 || l.answers == nil {
		t.Errorf("%+v", w.Peers)
	}
	if _, l = alone(t, &config.Remote{Probe: "off", OnIntercept: "warn"}); l.outside != nil || l.answers != nil || l.question(nil) != nil {
		t.Error("it looks though it is off")
	}
	if _, l = alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn"}); len(l.outside.Ways) != 1 || len(l.outside.Resolvers) != 1 || l.question(nil) != nil {
		t.Error("without settings it looks in several ways, or answers others")
	}
}

// A device whose relay is not near looks at nothing near, in no way.
func TestNothingNearIsDialledWithoutARelayThere(t *testing.T) {
	_, l := alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn", ProbeProxies: []config.Secret{"http://127.0.0.1:1"}})
	for _, way := range l.outside.Ways {
		for _, ip := range []string{"127.0.0.1", "10.1.2.3", "::1", "fe80::1", "::ffff:192.168.1.1"} {
			conn, err := way.Dial(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(ip), 443).String())
			if conn != nil || !errors.Is(err, watch.ErrNear) {
				t.Errorf("%s through %q: %v", ip, way.Name, err)
			}
		}
	}
}

func TestAnAlarmEndsTheProgramOnlyWhereThatIsWanted(t *testing.T) {
	alarm := watch.Alarm{Name: "xyz.relay.test", Seen: watch.Path, Text: "192.0.2.1:443 shows a key that is not this device's"}
	_, l := alone(t, &config.Remote{Probe: "off", OnIntercept: "warn"})
	if l.alarms.Raise(alarm); l.alarms.Stop != nil {
		t.Error("it would stop")
	}
	_, l = alone(t, &config.Remote{Probe: "off", OnIntercept: "stop"})
	l.alarms.Raise(alarm)
	err := intercepted(<-l.stop)
	if exitCode(err) != cli.ExitForeign || !strings.Contains(err.Error(), "xyz.relay.test is intercepted: 192.0.2.1:443 shows") || len(hint.All(err)) == 0 {
		t.Errorf("%v, code %d", err, exitCode(err))
	}
}

// An alarm is red on a terminal, and is said each time that it comes.
func TestAnAlarmIsRedOnATerminal(t *testing.T) {
	got := tell(1000, func(l *slog.Logger) {
		for range 2 {
			l.Error(watch.Message, "name", "x.net", "text", "192.0.2.1:443 shows a key", "evidence", "/e/x.pem", hint.Attr([]string{"look"}))
		}
		l.Error(watch.Message, "name", "x.net", "text", "a\x1b[0mb", "evidence", "")
	})
	const once = red + "INTERCEPTED: 192.0.2.1:443 shows a key. Its certificate is in /e/x.pem.\n  hint: look\n" + plainAgain
	if want := once + once + red + "INTERCEPTED: a [0mb.\n" + plainAgain; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheScreenSaysOfEachNameWhatWasFound(t *testing.T) {
	same := []start{{url: "https://a.net", outside: "nobody between"}, {url: "https://b.net", outside: "nobody between"}}
	if got := outside(same); got != "nobody between" {
		t.Errorf("%q", got)
	}
	other := append(same, start{url: "https://c.net", outside: "not checked: it refuses"})
	if got := outside(other); got != "a.net: nobody between. b.net: nobody between. c.net: not checked: it refuses" {
		t.Errorf("%q", got)
	}
}

func TestPortOfAnAddress(t *testing.T) {
	if got := portOf(net.JoinHostPort("xyz.relay.test", "8443")); got != 8443 {
		t.Error(got)
	}
}

// A link that comes up has the names of it looked at again, and no others; a name for
// which that is due already is not waited for.
func TestAReconnectHasItsNameLookedAtAgain(t *testing.T) {
	p, _ := alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn"})
	p.names = make(map[name]*published)
	for _, domain := range []string{"a.relay.test", "b.relay.test"} {
		all, err := p.device.Listen(remote.Name{Domain: domain, Relays: []string{"relay.test"}, RelayAddresses: []string{"127.0.0.1:1"}, Raw: true})
		if err != nil {
			t.Fatal(err)
		}
		p.names[name{domain: domain}] = &published{ln: all[0], again: make(chan struct{}, 1)}
	}
	for range 2 {
		p.hear(remote.Event{Kind: remote.Connected, Name: "a.relay.test"})
	}
	p.hear(remote.Event{Kind: remote.Disconnected, Name: "b.relay.test"})
	p.hear(remote.Event{Kind: remote.Connected, Name: "c.relay.test"})
	if a, b := len(p.names[name{domain: "a.relay.test"}].again), len(p.names[name{domain: "b.relay.test"}].again); a != 1 || b != 0 {
		t.Errorf("%d and %d looks are due", a, b)
	}
}

// What an alarm is to start is looked for at the start, and not first when there is one.
func TestProgramOfAnAlarmThatIsNotThereIsTold(t *testing.T) {
	for program, told := range map[string]bool{"/no/such/program": true, os.Args[0]: false} {
		var log bytes.Buffer
		p := &process{cfg: &config.Remote{Probe: "off", InterceptRun: []string{program, "x"}}, log: slog.New(slog.NewTextHandler(&log, nil))}
		if _, err := newLookout(p, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "the program of --on-intercept-run cannot be run"); got != told {
			t.Errorf("%s: %s", program, log.String())
		}
	}
}
