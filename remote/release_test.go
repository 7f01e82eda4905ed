package remote_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// A name is given back at the relay that gave it, and is forgotten; a relay that
// says no, is too old or cannot be reached is told of, and then nothing is forgotten.
func TestRelease(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	served := filepath.Join(cfg.StateDir, "names", domain+".json")
	if _, err := remote.Release(t.Context(), cfg); !errors.Is(err, remote.ErrNoIdentity) {
		t.Errorf("without an identity: %v", err)
	}
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	end(ln)
	for _, c := range []struct {
		answer error
		later  bool
	}{
		{&framing.NotReleased{Text: "another device's"}, false},
		{&framing.NotReleased{Text: "moving", Later: true}, true},
		{errors.New("the disk is full"), true},
	} {
		r.releaseWith(c.answer)
		var not *framing.NotReleased
		if _, err := remote.Release(t.Context(), cfg); !errors.As(err, &not) || not.Later != c.later || !strings.Contains(err.Error(), zone) {
			t.Errorf("%v: %v", c.answer, err)
		}
	}
	r.set(&framing.Refusal{Code: framing.RefusedBanned, Text: "banned"}, nil)
	var refusal *framing.Refusal
	if _, err := remote.Release(t.Context(), cfg); !errors.As(err, &refusal) {
		t.Errorf("refused: %v", err)
	}
	r.set(nil, nil)
	if _, err := os.Stat(served); err != nil {
		t.Error(err)
	}
	r.releaseWith(nil)
	cfg.Relays = nil // it is remembered
	if relays, err := remote.Release(t.Context(), cfg); err != nil || !slices.Equal(relays, []string{zone}) {
		t.Errorf("released at %q, %v", relays, err)
	}
	if _, err := os.Stat(served); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("how the name was served is not forgotten: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.released, []string{domain, domain, domain, domain}) {
		t.Errorf("asked to release %q", r.released)
	}
}

// A name that one of its relays has taken back is remembered with the others, which have to hear
// of a new key; also where it was one that nothing was known of, or that does not take it back.
func TestNameIsForgottenWithTheLastRelayThatHasIt(t *testing.T) {
	const other = "other.test"
	r1 := newRelay(t)
	r2 := newRelay(t, func(r *fakeRelay) { r.ca, r.cert = r1.ca, r1.ca.Issue(other) })
	cfg := r1.config()
	cfg.Relays, cfg.RelayAddresses = []string{zone, other}, []string{r1.addr, r2.addr}
	waiting := func(relays ...string) {
		t.Helper()
		var got []string
		info, err := remote.ShowIdentity(cfg.StateDir)
		for _, n := range info.Names {
			got = append(got, n.Relays...)
		}
		if err != nil || !slices.Equal(got, relays) {
			t.Errorf("remembered are %q, %v; want %q", got, err, relays)
		}
	}
	give := func(relays, addresses []string, ok bool) {
		t.Helper()
		at := cfg
		at.Relays, at.RelayAddresses = relays, addresses
		if _, err := remote.Release(t.Context(), at); (err == nil) != ok {
			t.Errorf("given back at %q: %v", relays, err)
		}
	}
	listen := func() *remote.Listener {
		t.Helper()
		ln := r1.listen(cfg)
		r1.next()
		r2.next()
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		return ln
	}
	ln := listen()
	waiting(zone, other)
	give([]string{zone + ":8443"}, []string{r1.addr}, true)
	waiting(other)
	rot, err := remote.RotateIdentity(cfg.StateDir, false)
	if err != nil || len(rot.Waiting) != 1 || rot.Waiting[0].Relay != other || !slices.Equal(rot.Waiting[0].Names, []string{domain}) {
		t.Errorf("rotated: %+v, %v", rot, err)
	}
	end(ln)
	give([]string{zone}, []string{r1.addr}, true) // of a name that it is not known to have
	waiting(other)
	give(nil, []string{r2.addr}, true)
	waiting()

	end(listen())
	waiting(zone, other)
	r2.releaseWith(&framing.NotReleased{Text: "moving", Later: true})
	give(nil, cfg.RelayAddresses, false)
	waiting(other)
	file := filepath.Join(cfg.StateDir, "names", domain+".json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *remote.DamagedError
	at := cfg
	at.Relays, at.RelayAddresses = []string{zone}, []string{r1.addr}
	if relays, err := remote.Release(t.Context(), at); !errors.As(err, &damaged) || !slices.Equal(relays, []string{zone}) {
		t.Errorf("it is not known which others have it: %q, %v", relays, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("what cannot be read is gone: %v", err)
	}
}

// A release ends with its context.
func TestReleaseEndsWithItsContext(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	end(r.listen(cfg))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if _, err := remote.Release(ctx, cfg); err == nil {
		t.Error("released")
	}
}

// A run whose name is given back elsewhere ends for good, and says why.
func TestRunEndsWhenItsNameIsGivenBack(t *testing.T) {
	for _, code := range []framing.DenialCode{framing.DeniedReleased, framing.DeniedBanned} {
		r := newRelay(t)
		ln := r.start(nil)
		link := r.next()
		link.Revoke(framing.Denial{Name: domain, Code: code, Text: "gone", Hint: "ask"})
		var d *framing.Denial
		if err := ended(t, ln); !errors.As(err, &d) || d.Code != code || d.Hint != "ask" {
			t.Errorf("code %d: %v", code, err)
		}
	}
}

// A token that was kept goes to its relay alone, and a token that was given goes
// before it.
func TestKeptToken(t *testing.T) {
	for name, c := range map[string]struct {
		kept, given, want string
		relay             string
	}{
		"kept":              {"secret", "", "secret", zone},
		"for another relay": {"secret", "", "", "other.test"},
		"and another given": {"secret", "given", "given", zone},
		"another port":      {"secret", "", "secret", "RELAY.test:8443"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t)
			cfg := r.config()
			cfg.Token = c.given
			if err := remote.KeepToken(cfg.StateDir, c.relay, c.kept); err != nil {
				t.Fatal(err)
			}
			r.listen(cfg)
			r.next()
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.claims[0].token != c.want {
				t.Errorf("claimed with %q, want %q", r.claims[0].token, c.want)
			}
		})
	}
}

// What is kept is for this user alone, can be replaced and removed, and what cannot
// be read is no token.
func TestKeptTokensFile(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	dir := cfg.StateDir
	for _, token := range []string{"one", "two"} {
		if err := remote.KeepToken(dir, zone, token); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "tokens", zone)
	if b, err := os.ReadFile(file); string(b) != "two\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, token := range []string{"", strings.Repeat("x", 1025)} {
		if err := remote.KeepToken(dir, zone, token); err == nil {
			t.Errorf("a token of %d bytes is kept", len(token))
		}
	}
	for _, want := range []bool{true, false} {
		if was, err := remote.ForgetToken(dir, zone); was != want || err != nil {
			t.Errorf("removed %v, %v", was, err)
		}
	}
	if err := os.WriteFile(file, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	r.listen(cfg)
	r.next()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[0].token != "" {
		t.Errorf("claimed with %q", r.claims[0].token)
	}
}

// A name that one relay has taken back is not remembered with that relay again when another one
// gives it for the first time later, in the run that goes on: the owner has given it back there.
// So it is where that run has not heard of it.
func TestNameGivenBackIsNotRememberedAgain(t *testing.T) {
	t.Run("heard", func(t *testing.T) { testGivenBack(t, true) })
	t.Run("not heard", func(t *testing.T) { testGivenBack(t, false) })
}

func testGivenBack(t *testing.T, heard bool) {
	const other = "other.test"
	r1 := newRelay(t)
	r2 := newRelay(t, func(r *fakeRelay) { r.ca, r.cert = r1.ca, r1.ca.Issue(other) })
	r2.set(nil, func(string, string) error {
		return &framing.Denial{Code: framing.DeniedUnavailable, Text: "not now", Retry: time.Second}
	})
	told, cfg := make(eventLog, 100), r1.deviceConfig()
	cfg.Relays, cfg.RelayAddresses = []string{zone, other}, []string{r1.addr, r2.addr}
	cfg.Events = func(e remote.Event) { told <- e }
	d := r1.openDevice(cfg)
	if _, err := d.Listen(r1.named(domain)); err != nil {
		t.Fatal(err)
	}
	first := r1.next()
	told.next(t, remote.Connected)
	at := r1.config()
	at.StateDir, at.Relays = cfg.StateDir, []string{zone}
	if _, err := remote.Release(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	remembered := func() (got []string) {
		info, err := remote.ShowIdentity(cfg.StateDir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range info.Names {
			got = append(got, n.Relays...)
		}
		return got
	}
	if got := remembered(); !slices.Equal(got, []string{other}) {
		t.Fatalf("after the release: %q", got)
	}
	if heard {
		first.Revoke(framing.Denial{Name: domain, Code: framing.DeniedReleased, Text: "given back"})
	}
	r2.set(nil, nil) // the other one gives it now
	for told.next(t, remote.Connected).Relay != other {
	}
	if got := remembered(); !slices.Equal(got, []string{other}) {
		t.Errorf("remembered with %q", got)
	}
	d.Shutdown(expired())
	rot, err := remote.RotateIdentity(cfg.StateDir, false)
	if err != nil || len(rot.Waiting) != 1 {
		t.Errorf("the old key waits for %+v, %v", rot.Waiting, err)
	}
}
