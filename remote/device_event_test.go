package remote_test

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// The events of a name come in their order, each of them once for a relay, however many
// links it has; a program that takes its time for one holds up no visitor.
func TestEventsTellOfANameInOrder(t *testing.T) {
	r := newRelay(t)
	cfg := r.deviceConfig()
	cfg.Links = 2
	told, slow := make(eventLog, 100), make(chan struct{})
	up := &logWatch{slog.NewTextHandler(t.Output(), nil), "another link is up", make(chan struct{}, 1)}
	cfg.Logger = slog.New(up)
	cfg.Events = func(e remote.Event) {
		<-slow
		told <- e
	}
	d := r.openDevice(cfg)
	ln := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	r.next()
	v, at := link.visit(ln)
	talk(t, v, at)
	select {
	case <-up.seen: // else the name may come on one link while it has gone from the other
	case <-time.After(patience):
		t.Fatal("no second link")
	}
	close(slow)
	ln.Close()
	ended(t, ln)
	var got []remote.EventKind
	for e := range told {
		if e.Name != "one.relay.test" || e.Kind != remote.Ended && e.Relay != zone {
			t.Errorf("told %+v", e)
		}
		if got = append(got, e.Kind); e.Kind == remote.Ended {
			break
		}
	}
	if want := [3]remote.EventKind{remote.Connected, remote.Disconnected, remote.Ended}; len(got) != 3 || [3]remote.EventKind(got) != want {
		t.Errorf("told %v, want %v", got, want)
	}
}

// A device tells of a relay that does not give a name for now, once for each reason.
func TestEventsTellOfADenial(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(name, _ string) error {
		if name == "two.relay.test" {
			return &framing.Denial{Code: framing.DeniedUnproven, Text: "DNS does not say so", Retry: time.Hour}
		}
		return nil
	})
	cfg := r.deviceConfig()
	told := make(eventLog, 100)
	cfg.Events = func(e remote.Event) { told <- e }
	d := r.openDevice(cfg)
	shared := &tls.Config{}
	if _, err := d.Listen(remote.Name{Domain: "one.relay.test", TLS: shared}, remote.Name{Domain: "two.relay.test", TLS: shared}); err != nil {
		t.Fatal(err)
	}
	if e := told.next(t, remote.Denied, remote.Refused); e.Kind != remote.Denied || e.Name != "two.relay.test" || e.Relay != zone || e.Err == nil {
		t.Errorf("told %+v", e)
	}
}
