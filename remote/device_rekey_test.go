package remote_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/remote"
)

// A logWatch is a log that tells of one message.
type logWatch struct {
	slog.Handler
	message string
	seen    chan struct{}
}

func (w *logWatch) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == w.message {
		select {
		case w.seen <- struct{}{}:
		default:
		}
	}
	return w.Handler.Handle(ctx, r)
}

// startServed starts a remote and waits until it is remembered how its name is served.
func (r *fakeRelay) startServed(dir string, change func(*remote.Config)) *remote.Listener {
	r.t.Helper()
	w := &logWatch{slog.NewTextHandler(r.t.Output(), nil), "session is up", make(chan struct{}, 1)}
	ln := r.start(func(cfg *remote.Config) {
		cfg.StateDir, cfg.Logger = dir, slog.New(w)
		if change != nil {
			change(cfg)
		}
	})
	select {
	case <-w.seen:
	case <-time.After(patience):
		r.t.Fatal("no session")
	}
	return ln
}

// identityOf is the key of a state directory.
func identityOf(t *testing.T, dir string) ed25519.PublicKey {
	t.Helper()
	info, err := remote.ShowIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(info.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rotate changes the key of a state directory.
func rotate(t *testing.T, dir string) (key ed25519.PublicKey) {
	t.Helper()
	if _, err := remote.RotateIdentity(dir, false); err != nil {
		t.Fatal(err)
	}
	return identityOf(t, dir)
}

// successor grants claims to one key, and to others that show what it hands over, as a
// relay does.
func successor(key ed25519.PublicKey) func(framing.Hello, framing.Claim) error {
	return func(h framing.Hello, c framing.Claim) error {
		list := c.Handovers.For(h.Key)
		if err := list.Verify(h.Key); err != nil {
			return &framing.Denial{Code: framing.DeniedHandover, Text: err.Error()}
		}
		if slices.ContainsFunc(list, func(o framing.Handover) bool { return key.Equal(o.Old) }) {
			key = bytes.Clone(h.Key)
		}
		if !key.Equal(h.Key) {
			return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
		}
		return nil
	}
}

// decideBy changes how the relay decides about claims.
func (r *fakeRelay) decideBy(f func(framing.Hello, framing.Claim) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide = f
}

// A run goes on with a new key: the relay hears of it on a new link, of the same run,
// and the old link goes in good order once that has the name. Its visitors stay.
func TestRunGoesOnWithANewKey(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	ln := r.startServed(dir, nil)
	first := r.next()
	r.decideBy(successor(first.hello.Key))
	visitor := first.visitor()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if changed, err := ln.TakeUpIdentity(); changed || err != nil {
		t.Errorf("without another key: %v, %v", changed, err)
	}

	key := rotate(t, dir)
	if changed, err := ln.TakeUpIdentity(); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	second := r.next()
	if !key.Equal(second.hello.Key) || second.hello.Run != first.hello.Run {
		t.Errorf("hello of %x, run %v", second.hello.Key, second.hello.Run)
	}
	<-first.goAway
	go io.WriteString(conn, "still here")
	if _, err := io.ReadFull(visitor, make([]byte, len("still here"))); err != nil {
		t.Error(err)
	}
	if info, err := remote.ShowIdentity(dir); err != nil || len(info.Handovers) > 0 {
		t.Errorf("%+v, %v", info, err)
	}
	visitor.Close()
	conn.Close()
	<-first.Done()
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
	next := second.visitor()
	defer next.Close()
}

// A link from before two new keys goes once the second one has the name, whether the relay has
// heard of the first or not.
func TestLinkOfTwoKeysAgoGoes(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	ln := r.startServed(dir, nil)
	first := r.next()
	also, denied := successor(first.hello.Key), make(chan struct{}, 1)
	var last atomic.Pointer[ed25519.PublicKey]
	r.decideBy(func(h framing.Hello, c framing.Claim) error {
		if key := last.Load(); key == nil || !key.Equal(h.Key) {
			select {
			case denied <- struct{}{}:
			default:
			}
			return &framing.Denial{Code: framing.DeniedLimit, Text: "no room", Retry: time.Second}
		}
		return also(h, c)
	})
	rotate(t, dir)
	if _, err := ln.TakeUpIdentity(); err != nil {
		t.Fatal(err)
	}
	<-denied
	key := rotate(t, dir)
	last.Store(&key)
	if _, err := ln.TakeUpIdentity(); err != nil {
		t.Fatal(err)
	}
	if second := r.next(); !key.Equal(second.hello.Key) {
		t.Errorf("hello of %x", second.hello.Key)
	}
	select {
	case <-first.goAway:
	case <-time.After(patience):
		t.Error("it stays")
	}
}

// A run that was not told of a new key, as another process of the device, takes it up
// when a relay takes its name away.
func TestRunTakesUpANewKeyThatItWasNotToldOf(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	ln := r.startServed(dir, nil)
	first := r.next()
	r.decideBy(successor(first.hello.Key))
	key := rotate(t, dir)
	first.Revoke(framing.Denial{Name: domain, Code: framing.DeniedTaken, Text: "handed over"})
	second := r.next()
	if !key.Equal(second.hello.Key) {
		t.Errorf("hello of %x", second.hello.Key)
	}
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
	first = second
	first.Revoke(framing.Denial{Name: domain, Code: framing.DeniedTaken, Text: "by somebody else"})
	var denial *framing.Denial
	if err := ended(t, ln); !errors.As(err, &denial) || denial.Code != framing.DeniedTaken {
		t.Errorf("without another key: %v", err)
	}
}

// The next start shows a relay what it has not heard, also of several new keys.
func TestNextStartShowsWhatTheRelayHasNotHeard(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	end(r.startServed(dir, nil))
	first := r.next()
	rotate(t, dir)
	key := rotate(t, dir)
	var n atomic.Int32
	also := successor(first.hello.Key)
	r.decideBy(func(h framing.Hello, c framing.Claim) error {
		n.Store(int32(len(c.Handovers)))
		return also(h, c)
	})
	end(r.startServed(dir, nil))
	if l := r.next(); !key.Equal(l.hello.Key) || n.Load() != 2 {
		t.Errorf("hello of %x, %d hand-overs", l.hello.Key, n.Load())
	}
	end(r.startServed(dir, nil))
	if r.next(); n.Load() != 0 {
		t.Errorf("once more: %d hand-overs", n.Load())
	}
}

// A relay that has no room for a hand-over is told of as such, not as one that has no room
// for names, and the hand-over is shown again.
func TestRefusedHandoverHasAHint(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	end(r.startServed(dir, nil))
	r.next()
	rotate(t, dir)
	r.decideBy(func(_ framing.Hello, c framing.Claim) error {
		if len(c.Handovers) == 0 {
			t.Error("a claim shows no hand-over")
		}
		return &framing.Denial{Code: framing.DeniedLimit, Text: "no room", Hint: "ask the relay's operator"}
	})
	logged := make(lines, 16)
	ln := r.start(func(cfg *remote.Config) {
		cfg.StateDir, cfg.Logger = dir, slog.New(slog.NewTextHandler(logged, nil))
	})
	want := strings.Join(append([]string{"ask the relay's operator"}, hint.HandoverWaits.Do...), "; ")
	for line := range logged {
		if !strings.Contains(line, "no session with the relay") {
			continue
		}
		if !strings.Contains(line, `hint="`+want+`"`) {
			t.Error(line)
		}
		break
	}
	end(ln)
	if info, err := remote.ShowIdentity(dir); err != nil || len(info.Handovers) != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// A name keeps its key through a rotation as soon as it answers, also while the relay takes
// long about another one.
func TestNameIsRememberedBeforeItAnswers(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	slow, release := "zz."+zone, make(chan struct{})
	var quick atomic.Bool
	r.decideBy(func(_ framing.Hello, c framing.Claim) error {
		switch {
		case c.Name != slow:
			quick.Store(true)
		case quick.Load():
			<-release
		default: // it came first, and the relay answers one after the other
			return &framing.Denial{Code: framing.DeniedUnavailable, Text: "not now", Retry: time.Second}
		}
		return nil
	})
	cfg := r.deviceConfig()
	cfg.StateDir = dir
	list, err := r.openDevice(cfg).Listen(r.named(domain), r.named(slow))
	if err != nil {
		t.Fatal(err)
	}
	defer close(release)
	if err := wait(t, list[0]); err != nil {
		t.Fatal(err)
	}
	rotate(t, dir)
	info, err := remote.ShowIdentity(dir)
	if err != nil || len(info.Handovers) != 1 || !slices.Equal(info.Handovers[0].Relays[0].Names, []string{domain}) {
		t.Errorf("%+v, %v", info, err)
	}
}

// A name that is made from the key cannot go on with another one while it is served.
func TestNameMadeFromTheKeyTakesANewStart(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	ln := r.startServed(dir, func(cfg *remote.Config) { cfg.Domain, cfg.Relays = "", []string{zone} })
	r.next()
	if _, err := remote.RotateIdentity(dir, true); err != nil {
		t.Fatal(err)
	}
	if changed, err := ln.TakeUpIdentity(); changed || !slices.Equal(hint.All(err), hint.KeyNameRuns.Do) {
		t.Errorf("changed %v, %v", changed, err)
	}
	end(ln)
	again := r.startServed(dir, func(cfg *remote.Config) { cfg.Domain, cfg.Relays, cfg.RelayAddresses = "", nil, []string{r.addr} })
	info, err := remote.ShowIdentity(dir)
	if err != nil || again.Domain() != info.Label+"."+zone {
		t.Errorf("it serves %s, %v", again.Domain(), err)
	}
}

// A name is given back also where the relay has not heard of the key that it belongs to.
func TestReleaseWithAKeyThatTheRelayHasNotHeardOf(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	end(r.startServed(dir, nil))
	also, n := successor(r.next().hello.Key), new(atomic.Int32)
	rotate(t, dir)
	r.decideBy(func(h framing.Hello, c framing.Claim) error { n.Add(1); return also(h, c) })
	cfg := r.config()
	cfg.StateDir = dir
	if relays, err := remote.Release(t.Context(), cfg); err != nil || n.Load() != 1 || !slices.Equal(relays, []string{zone}) {
		t.Errorf("%v, %d claims, %v", relays, n.Load(), err)
	}
}

// A run that a newer one has replaced serves the visitors that were sent to it before,
// those too that are on their way while it hears of it.
func TestReplacedRunServesVisitorsOnTheirWay(t *testing.T) {
	r := newRelay(t)
	ln := r.serveNames(r.openDevice(r.deviceConfig()), domain)[0]
	link := r.next()
	late := link.open(domain, framing.KindTLS)
	link.Revoke(framing.Denial{Name: domain, Code: framing.DeniedReplaced, Text: "a newer run has it"})
	<-link.goAway // it has heard of it, and says so
	done := make(chan error, 1)
	go func() {
		tc := tls.Client(late, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain})
		done <- tc.Handshake()
	}()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go conn.(*tls.Conn).Handshake()
	if err := <-done; err != nil {
		t.Error(err)
	}
	conn.Close()
	var denial *framing.Denial
	if err := ended(t, ln); !errors.As(err, &denial) || denial.Code != framing.DeniedReplaced {
		t.Errorf("it ended with %v", err)
	}
}
