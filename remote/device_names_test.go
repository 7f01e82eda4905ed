package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// deviceConfig is one with which Open works, in a new state directory.
func (r *fakeRelay) deviceConfig() remote.DeviceConfig {
	return remote.DeviceConfig{
		StateDir:       r.t.TempDir(),
		Relays:         []string{zone},
		RelayAddresses: []string{r.addr},
		RelayRoots:     r.ca.Pool(),
		Links:          1,
		Proxy:          none,
		Version:        "test",
		Logger:         slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
}

// openDevice starts a device and ends it with the test.
func (r *fakeRelay) openDevice(cfg remote.DeviceConfig) *remote.Device {
	r.t.Helper()
	d, err := remote.Open(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { d.Shutdown(expired()) })
	return d
}

// named is a name with a certificate of the relay's CA.
func (r *fakeRelay) named(domain string) remote.Name {
	return remote.Name{Domain: domain, TLS: &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}}}
}

// serveNames listens to names, and waits until they answer.
func (r *fakeRelay) serveNames(d *remote.Device, domains ...string) []*remote.Listener {
	r.t.Helper()
	var names []remote.Name
	for _, domain := range domains {
		names = append(names, r.named(domain))
	}
	list, err := d.Listen(names...)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, ln := range list {
		if err := wait(r.t, ln); err != nil {
			r.t.Fatal(err)
		}
	}
	return list
}

// visit is a visitor of a name after its TLS handshake, at both ends.
func (l *relayLink) visit(ln *remote.Listener) (visitor *tls.Conn, at net.Conn) {
	l.t.Helper()
	visitor = tls.Client(l.open(ln.Domain(), framing.KindTLS), &tls.Config{RootCAs: l.ca.Pool(), ServerName: ln.Domain()})
	done := make(chan error, 1)
	go func() { done <- visitor.Handshake() }()
	at, err := ln.Accept()
	if err := errors.Join(err, <-done); err != nil {
		l.t.Fatal(err)
	}
	return visitor, at
}

// talk checks that a visitor reaches its service.
func talk(t *testing.T, visitor, at net.Conn) {
	t.Helper()
	go io.WriteString(visitor, "hello")
	if b := make([]byte, 5); !full(at, b) || string(b) != "hello" {
		t.Errorf("the visitor said %q", b)
	}
}

func (r *fakeRelay) takeUnclaimed() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.unclaimed = r.unclaimed, nil
	return list
}

// Names come and go while a device runs. A link stays up for the others, and who was
// accepted stays connected.
func TestNamesComeAndGo(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	one := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	visitor, at := link.visit(one)
	more := r.serveNames(d, "three.relay.test", "two.relay.test")
	talk(t, visitor, at)

	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, one); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := wait(t, one); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	if got := r.takeUnclaimed(); !slices.Equal(got, []string{"one.relay.test"}) {
		t.Errorf("taken off the link: %q", got)
	}
	talk(t, visitor, at)
	for _, ln := range more {
		v, at := link.visit(ln)
		talk(t, v, at)
	}
	late := link.open("one.relay.test", framing.KindTLS)
	if _, err := late.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a visitor of a name that is closed: %v, want a refusal", err)
	}

	again := r.serveNames(d, "one.relay.test")[0]
	v, at2 := link.visit(again)
	talk(t, v, at2)
	talk(t, visitor, at)
	select {
	case <-r.up:
		t.Error("the device has dialled once more")
	default:
	}
	if n := d.Visitors(); n != 4 {
		t.Errorf("%d visitors, want 4", n)
	}
}

// A name that is closed may be listened to anew at once.
func TestNameIsListenedToAnewAtOnce(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	old := r.serveNames(d, "one.relay.test", "two.relay.test")[0]
	link := r.next()
	old.Close()
	ln := r.serveNames(d, "one.relay.test")[0]
	v, at := link.visit(ln)
	talk(t, v, at)
	if err := ended(t, old); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of the old one: %v", err)
	}
	v, at = link.visit(ln)
	talk(t, v, at)
	var inUse *remote.InUseError
	if _, err := d.Listen(r.named("three.relay.test"), r.named("one.relay.test")); !errors.As(err, &inUse) || inUse.Name != "one.relay.test" {
		t.Errorf("the same name twice: %v", err)
	}
	r.serveNames(d, "three.relay.test") // which was not begun
}

// Shutdown of a listener neither waits for nor cuts the visitors of another one that has
// the name by now, as after a change of remote.yaml.
func TestShutdownLeavesTheVisitorsOfTheNextListener(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	old := r.serveNames(d, "one.relay.test", "two.relay.test")[0]
	link := r.next()
	cut, _ := link.visit(old)
	old.Close()
	ln := r.serveNames(d, "one.relay.test")[0]
	visitor, at := link.visit(ln)
	for which, l := range map[string]*remote.Listener{"old": old, "new": ln} {
		if n := l.Visitors(); n != 1 {
			t.Errorf("the %s listener has %d visitors, want 1", which, n)
		}
	}
	if err := old.Shutdown(expired()); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := cut.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a visitor that was cut sees %v", err)
	}
	talk(t, visitor, at)
	if err := old.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown that has nobody to wait for: %v", err)
	}
	talk(t, visitor, at)
}

// The certificate of a name is ordered as long as a listener needs it: not any more when
// the next one of the name brings its own, or leaves TLS to the visitors' service.
func TestCertificateIsOrderedForWhomItIs(t *testing.T) {
	r := newRelay(t)
	cfg := r.deviceConfig()
	cfg.ACME.CA, cfg.ACME.Roots = "https://127.0.0.1:1/", r.ca.Pool() // nobody is there
	d := r.openDevice(cfg)
	r.serveNames(d, "other.relay.test")
	ordered := remote.Name{Domain: "one.relay.test"}
	for name, c := range map[string]struct {
		next remote.Name
		kept bool
	}{
		"raw":     {remote.Name{Domain: "one.relay.test", Raw: true}, false},
		"brought": {r.named("one.relay.test"), false},
		"ordered": {ordered, true},
	} {
		list, err := d.Listen(ordered)
		if err != nil {
			t.Fatal(err)
		}
		list[0].Close()
		next, err := d.Listen(c.next)
		if err != nil {
			t.Fatal(err)
		}
		ended(t, list[0])
		if got := remote.KeepsCertificate(d, "one.relay.test"); got != c.kept {
			t.Errorf("%s: a certificate is kept: %v", name, got)
		}
		next[0].Close()
		ended(t, next[0])
	}
}

// A link without a name ends in good order, and its visitors are served to their end.
func TestLinkEndsWithItsLastName(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	ln := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	visitor, at := link.visit(ln)
	ln.Close()
	if g := <-link.goAway; g.Code != framing.GoAwayShutdown {
		t.Errorf("%+v", g)
	}
	ended(t, ln)
	talk(t, visitor, at)
	if link.Err() != nil {
		t.Errorf("the link has ended with a visitor: %v", link.Err())
	}
	at.Close()
	visitor.Close()
	<-link.Done()
	r.serveNames(d, "two.relay.test") // on a new link
	r.next()
}

// Shutdown of a listener waits for the visitors of its name alone, and cuts no others.
func TestShutdownOfOneName(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	list := r.serveNames(d, "one.relay.test", "two.relay.test")
	link := r.next()
	visitor, at := link.visit(list[0])
	other, atOther := link.visit(list[1])
	done := make(chan error, 1)
	go func() { done <- list[0].Shutdown(t.Context()) }()
	ended(t, list[0])
	talk(t, visitor, at)
	select {
	case err := <-done:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	if n := list[0].Visitors(); n != 1 {
		t.Errorf("%d visitors of the name, want 1", n)
	}
	at.Close()
	visitor.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	talk(t, other, atOther)

	if err := list[1].Shutdown(expired()); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown that cuts: %v", err)
	}
	if _, err := other.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a visitor that was cut sees %v", err)
	}
}

// names is how many claims have come.
func (r *fakeRelay) names() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.claims)
}

// awaitNames waits until so many claims have come.
func (r *fakeRelay) awaitNames(n int) {
	r.t.Helper()
	for end := time.Now().Add(patience); r.names() < n; runtime.Gosched() {
		if time.Now().After(end) {
			r.t.Fatalf("%d claims have come, want %d", r.names(), n)
		}
	}
}

// A name that a relay takes back for now is claimed again on the same link, and the
// others are not touched.
func TestNameThatIsLostForNowIsClaimedAgain(t *testing.T) {
	r := newRelay(t)
	cfg := r.deviceConfig()
	told := make(eventLog, 100)
	cfg.Events = func(e remote.Event) { told <- e }
	list := r.serveNames(r.openDevice(cfg), "one.relay.test", "two.relay.test")
	link := r.next()
	told.next(t, remote.Connected)
	told.next(t, remote.Connected)
	link.Revoke(framing.Denial{Name: "one.relay.test", Code: framing.DeniedUnproven, Text: "DNS does not say so", Retry: time.Second})
	if e := told.next(t, remote.Disconnected); e.Name != "one.relay.test" || e.Relay != zone {
		t.Errorf("told %+v", e)
	}
	if e := told.next(t, remote.Connected); e.Name != "one.relay.test" {
		t.Errorf("told %+v", e)
	}
	for _, ln := range list {
		v, at := link.visit(ln)
		talk(t, v, at)
	}
	select {
	case <-r.up:
		t.Error("the device has dialled once more")
	default:
	}
}

// Hundreds of names share two links, and are claimed many at once.
func TestHundredsOfNamesShareTheLinks(t *testing.T) {
	const many = 500
	r := newRelay(t)
	cfg := r.deviceConfig()
	cfg.Links = 2
	cfg.Logger = nil
	shared := r.named("x.relay.test").TLS
	var names []remote.Name
	for i := range many {
		names = append(names, remote.Name{Domain: fmt.Sprintf("n%d.relay.test", i), TLS: shared})
	}
	d := r.openDevice(cfg)
	list, err := d.Listen(names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	r.next()
	r.next()
	r.awaitNames(2 * many)
	select {
	case <-r.up:
		t.Error("there is a third link")
	default:
	}
	if n := r.names(); n != 2*many {
		t.Errorf("%d claims, want %d", n, 2*many)
	}
}

// Names whose relay is found by climbing share its links, also with those that name it.
func TestNamesThatClimbShareTheLinks(t *testing.T) {
	s := newStreet(t, "", street{"relay.test": asRelay})
	cfg := s.deviceConfig()
	cfg.Relays = nil
	d := s.openDevice(cfg)
	deep, shallow := "app.team.relay.test", "one.relay.test"
	named := s.named("two.relay.test")
	named.Relays, named.RelayAddresses = []string{zone + ":443"}, []string{s.addr}
	list, err := d.Listen(s.named(deep), s.named(shallow), named)
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	link := s.next()
	for l := link; l != nil; { // of the links, one lives
		select {
		case l = <-s.up:
			if link.Err() != nil {
				link = l
			}
		default:
			l = nil
		}
	}
	for _, ln := range list {
		v, at := link.visit(ln)
		talk(t, v, at)
	}
}

// Rules that are set while a name is served reach the relay and hold here, and no
// connection is cut.
func TestRulesAreSetWhileANameIsServed(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	ln := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	visitor, at := link.visit(ln)
	if err := ln.SetRules(framing.Rules{Deny: prefixes("0.0.0.0/0")}); err != nil {
		t.Fatal(err)
	}
	r.awaitNames(2)
	r.mu.Lock()
	told := r.rules
	r.mu.Unlock()
	if len(told.Deny) != 1 {
		t.Errorf("the relay was told %+v", told)
	}
	talk(t, visitor, at)
	refused := tls.Client(link.open("one.relay.test", framing.KindTLS), &tls.Config{RootCAs: r.ca.Pool(), ServerName: "one.relay.test"})
	if err := refused.Handshake(); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("a visitor whom the rules refuse: %v", err)
	}
	if err := ln.SetRules(framing.Rules{Deny: slices.Repeat(prefixes("0.0.0.0/0"), framing.MaxRules+1)}); err == nil {
		t.Error("too many rules were set")
	}
}

// Each word makes another name from the device's key.
func TestWordsMakeNames(t *testing.T) {
	r := newRelay(t)
	cfg := r.deviceConfig()
	dir := cfg.StateDir
	d := r.openDevice(cfg)
	made := func(word string) remote.Name { return remote.Name{Word: word, TLS: &tls.Config{}} }
	list, err := d.Listen(made(""), made("blog"), made("shop"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		seen[ln.Domain()] = true
	}
	label, _, err := remote.Identity(dir)
	if err != nil || len(seen) != 3 || list[0].Domain() != label+"."+zone {
		t.Errorf("names %v, %v", seen, err)
	}
	r.mu.Lock()
	words := slices.Sorted(slices.Values(r.words))
	r.mu.Unlock()
	if !slices.Equal(words, []string{"", "blog", "shop"}) {
		t.Errorf("claimed with words %q", words)
	}
	d.Shutdown(t.Context())
	cfg.Relays = nil // the relay of the last name is known
	d = r.openDevice(cfg)
	again, err := d.Listen(made("blog"))
	if err != nil || again[0].Domain() != list[1].Domain() {
		t.Errorf("again: %v, %v", again, err)
	}
}
