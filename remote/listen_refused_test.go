package remote_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/remote"
)

// What the relay refuses for good ends the listener, and Accept and Wait say so.
func TestFinalRefusalEndsTheListener(t *testing.T) {
	r := newRelay(t)
	denial := func(code framing.DenialCode) func(string, string) error {
		return func(string, string) error { return &framing.Denial{Code: code, Text: "no"} }
	}
	for name, c := range map[string]struct {
		refuse *framing.Refusal
		claim  func(string, string) error
	}{
		"proof":    {&framing.Refusal{Code: framing.RefusedProof, Text: "no"}, nil},
		"banned":   {&framing.Refusal{Code: framing.RefusedBanned, Text: "no"}, nil},
		"taken":    {nil, denial(framing.DeniedTaken)},
		"token":    {nil, denial(framing.DeniedToken)},
		"replaced": {nil, denial(framing.DeniedReplaced)},
	} {
		t.Run(name, func(t *testing.T) {
			r.set(c.refuse, c.claim)
			ln := r.listen(r.config())
			for _, err := range []error{ended(t, ln), wait(t, ln)} {
				var refusal *framing.Refusal
				var denied *framing.Denial
				if c.refuse != nil && (!errors.As(err, &refusal) || *refusal != *c.refuse) ||
					c.claim != nil && (!errors.As(err, &denied) || denied.Name != domain) {
					t.Errorf("got %v", err)
				}
			}
			if err := ln.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// What may pass is tried again.
func TestPassingRefusalIsTriedAgain(t *testing.T) {
	r := newRelay(t)
	var asked atomic.Int32
	r.set(nil, func(string, string) error {
		switch asked.Add(1) {
		case 1:
			return &framing.Denial{Code: framing.DeniedLimit, Text: "later"}
		case 2:
			return errors.New("the disk is full")
		}
		return nil
	})
	ln := r.listen(r.config())
	if err := wait(t, ln); err != nil || asked.Load() != 3 {
		t.Errorf("%v after %d claims", err, asked.Load())
	}
}

// A run that is replaced stops, and says why.
func TestReplacedRunStopsAndSaysWhy(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	link := r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	link.Revoke(framing.Denial{Name: domain, Code: framing.DeniedReplaced, Text: "a newer run"})
	var d *framing.Denial
	if err := ended(t, ln); !errors.As(err, &d) || d.Code != framing.DeniedReplaced {
		t.Errorf("Accept: %v", err)
	}
	<-link.Done()
	if len(r.up) > 0 {
		t.Error("it came back")
	}
}

func TestListenWithoutARelayIsAnError(t *testing.T) {
	for _, cfg := range []remote.Config{{}, {Domain: "relay.net"}, {Domain: "xyz.github.io"}} {
		cfg.StateDir = t.TempDir()
		if _, err := remote.Listen(cfg); !errors.Is(err, remote.ErrNoRelay) {
			t.Errorf("%q: %v", cfg.Domain, err)
		}
	}
	if _, err := remote.Listen(remote.Config{Domain: domain}); err == nil {
		t.Error("no state directory")
	}
	dir := t.TempDir()
	remote.Listen(remote.Config{StateDir: dir})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("a mistake of usage left %v, %v", left, err)
	}
}

// Wait says what is missing, and an unreachable relay what to do.
func TestWaitSaysWhatIsMissing(t *testing.T) {
	r := newRelay(t)
	closed := newRelay(t)
	closed.close()
	stranger := testca.New(t)
	other := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(zone)}, NextProtos: []string{"h2"}})
	bare := tlsServer(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none yet") }})
	for name, c := range map[string]struct {
		change func(*remote.Config)
		is     func(error) bool
		hint   string
	}{
		"closed port": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{closed.addr} },
			func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, "nothing listens there"},
		"unknown CA": {func(cfg *remote.Config) { cfg.RelayRoots = stranger.Pool() },
			func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }, "--relay-root"},
		"another name": {func(cfg *remote.Config) { cfg.Relays = []string{"wrong.test"} },
			func(err error) bool { return errors.As(err, new(x509.HostnameError)) }, "--relay-address"},
		"not a relay": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{other} },
			func(err error) bool { return err != nil }, "no keystay relay"},
		"no certificate yet": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{bare} },
			func(err error) bool { return strings.Contains(err.Error(), "the relay has no certificate yet") }, "its own log"},
		"no address": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{"relay.invalid:443"} },
			func(err error) bool { return errors.As(err, new(*net.DNSError)) }, "--relay-address"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := r.config()
			c.change(&cfg)
			logged := make(lines, 16)
			cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
			ln := r.listen(cfg)
			line := ""
			for !strings.Contains(line, "trying again") {
				line = <-logged
			}
			if !strings.Contains(line, c.hint) {
				t.Errorf("no hint in the log: %s", line)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := ln.Wait(ctx)
			var no *remote.NoRelayError
			if !errors.As(err, &no) || !c.is(err) || !errors.Is(err, context.Canceled) {
				t.Fatalf("Wait: %v", err)
			}
			if hints := strings.Join(no.Hints(), "\n"); !strings.Contains(hints, c.hint) {
				t.Errorf("hints %q", hints)
			}
			if strings.Contains(err.Error(), "context") || !strings.Contains(err.Error(), "no session") || !strings.Contains(err.Error(), no.Relay) {
				t.Errorf("Wait: %v", err)
			}
		})
	}
}

// Who denies a name is who is named in the log, not who was tried before.
func TestDeniedByWhom(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(string, string) error { return &framing.Denial{Code: framing.DeniedTaken, Text: "no"} })
	cfg := r.config()
	cfg.Domain = "deep.xyz.relay.test"
	logged := make(lines, 16)
	cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
	ended(t, r.listen(cfg))
	for line := range logged {
		if strings.Contains(line, "level=ERROR") {
			if !strings.Contains(line, " relay=relay.test ") {
				t.Error(line)
			}
			return
		}
	}
}

// A denial that may pass is logged with what to do.
func TestPassingDenialHasAHint(t *testing.T) {
	for code, want := range map[framing.DenialCode]*hint.Advice{framing.DeniedLimit: hint.NoMoreNames, framing.DeniedUnavailable: hint.RelayUndecided} {
		r := newRelay(t)
		r.set(nil, func(string, string) error { return &framing.Denial{Code: code, Text: "later"} })
		cfg := r.config()
		logged := make(lines, 16)
		cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
		ln := r.listen(cfg)
		for line := range logged {
			if !strings.Contains(line, "no session with the relay") {
				continue
			}
			if !strings.Contains(line, strings.Join(want.Do, "; ")) {
				t.Errorf("code %d: %s", code, line)
			}
			break
		}
		end(ln)
	}
}
