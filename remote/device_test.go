package remote_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// listenAll starts a device with several names and ends it with the test.
func (r *fakeRelay) listenAll(domains ...string) []*remote.Listener {
	r.t.Helper()
	cfg := r.config()
	cfg.Relays = []string{zone}
	cfg.TLS = &tls.Config{}
	for _, d := range domains {
		cfg.TLS.Certificates = append(cfg.TLS.Certificates, r.ca.Issue(d))
	}
	list, err := remote.ListenAll(cfg, domains...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { endAll(list[0]) })
	return list
}

// endAll ends the device of a listener and all its connections at once.
func endAll(ln *remote.Listener) { remote.DeviceOf(ln).Shutdown(expired()) }

// Listeners of one device share its links, and each gets the visitors of its
// name alone.
func TestListenersOfADeviceShareItsLinks(t *testing.T) {
	r := newRelay(t)
	names := []string{"one.relay.test", "two.relay.test"}
	listeners := r.listenAll(names...)
	link := r.next()
	for i, ln := range listeners {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		if ln.Domain() != names[i] {
			t.Errorf("listener %d is of %s", i, ln.Domain())
		}
		visitor := tls.Client(link.open(names[i], framing.KindTLS), &tls.Config{RootCAs: r.ca.Pool(), ServerName: names[i]})
		go func() {
			if visitor.Handshake() == nil {
				io.WriteString(visitor, "to "+names[i])
				visitor.CloseWrite()
			}
		}()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); err != nil || string(b) != "to "+names[i] {
			t.Errorf("listener %d got %q, %v", i, b, err)
		}
		c.Close()
	}
	stranger := link.open("three.relay.test", framing.KindTLS)
	if _, err := stranger.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a visitor of another name: %v, want a refusal", err)
	}
	select {
	case <-r.up:
		t.Error("a second link for the second name")
	default:
	}
}

// A name that is denied for good keeps no other name of the device from answering:
// its listener alone ends, and tells why.
func TestDenialOfOneNameLeavesTheOther(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(name, _ string) error {
		if strings.HasPrefix(name, "two.") {
			return &framing.Denial{Code: framing.DeniedTaken, Text: "somebody has it"}
		}
		return nil
	})
	listeners := r.listenAll("one.relay.test", "two.relay.test")
	if err := wait(t, listeners[0]); err != nil {
		t.Fatal(err)
	}
	var denial *framing.Denial
	if err := wait(t, listeners[1]); !errors.As(err, &denial) || denial.Text != "somebody has it" {
		t.Errorf("the denied name: %v", err)
	}
	if err := ended(t, listeners[1]); !errors.As(err, &denial) {
		t.Errorf("Accept of the denied name: %v", err)
	}
	if err := wait(t, listeners[0]); err != nil {
		t.Errorf("the other name: %v", err)
	}
	r.next().open("one.relay.test", framing.KindTLS)
}

// A name that is denied for now is claimed again on the same link, when the relay
// has said, and its reason is told once.
func TestNameThatIsDeniedForNowIsClaimedAgain(t *testing.T) {
	r := newRelay(t)
	var asked atomic.Int32
	r.set(nil, func(name, _ string) error {
		if strings.HasPrefix(name, "two.") && asked.Add(1) < 3 {
			return &framing.Denial{Code: framing.DeniedUnproven, Text: "DNS does not say so", Hint: "set a record", Retry: time.Second}
		}
		return nil
	})
	log := make(lines, 100)
	cfg := r.config()
	cfg.Relays, cfg.Logger = []string{zone}, slog.New(slog.NewTextHandler(log, nil))
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{r.ca.Issue("one.relay.test"), r.ca.Issue("two.relay.test")}}
	list, err := remote.ListenAll(cfg, "one.relay.test", "two.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	r.next()
	select {
	case <-r.up:
		t.Error("the remote has dialled once more")
	default:
	}
	endAll(list[0])
	close(log)
	told := 0
	for line := range log {
		if strings.Contains(line, "does not give this name yet") {
			if told++; !strings.Contains(line, `hint="set a record"`) || !strings.Contains(line, "name=two.relay.test") {
				t.Errorf("told: %s", line)
			}
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
