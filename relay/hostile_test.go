package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// No address makes the relay ask an outside decision more often than it may.
func TestQuestionsToTheWebhookAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		r := memRig(t, func(s *relay.Server) {
			s.Names.Ask = func(_ context.Context, c names.Claimant) error {
				asked.Add(1)
				return &names.Denied{Name: c.Name, Code: names.DeniedClosed, Text: "no"}
			}
			s.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{Domains: limits.Rate{Count: 3, Per: time.Hour}}})
		})
		d := r.device(newIdentity(t))
		for i := range 10 {
			err := d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("n%d.%s", i, zone)})
			if want := map[bool]framing.DenialCode{true: framing.DeniedLimit, false: framing.DeniedClosed}[i >= 3]; want != 0 {
				denied(t, err, want)
			}
		}
		if n := asked.Load(); n != 3 || r.limited("address_domains") != 7 {
			t.Errorf("the outside decision was asked %d times, %v were limited", n, r.limited("address_domains"))
		}
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}

// Keys made at will from one address do not keep the turns at the CA from a device of
// another network.
func TestTurnsAtTheCAAreSharedByNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) {
			s.Names.CertificatesPerWeek = 8
			s.SetLimits(limits.Config{Exempt: nobody})
		})
		for i := range 10 {
			id := newIdentity(t)
			d := r.device(id)
			got, err := d.Link.Claim(t.Context(), framing.Claim{Name: id.label()})
			if err != nil || (got.OrderIn == 0) != (i < 2) {
				t.Errorf("device %d: %v, %v", i, got.OrderIn, err)
			}
		}
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}

// A name that its device gives back on one link, while it claims it on another, is
// served by a grant or not at all: else it would be nobody's in the record, and count
// for nobody, for as long as the link is up.
func TestNoClaimSlipsPastARelease(t *testing.T) {
	const name = "a." + zone
	r := newServer(t, nil)
	id := newIdentity(t)
	granted, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	r.srv.Names.OnChange = func(c names.Change) {
		if c.What == "granted" && once.CompareAndSwap(false, true) {
			close(granted)
			<-goOn
		}
	}
	r.listen()
	d, other := r.device(id), r.device(id)
	answer := make(chan error, 1)
	go func() { answer <- d.Claim(t.Context(), framing.Claim{Name: name}) }()
	<-granted
	if err := other.Link.Release(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	err := <-answer
	if _, holds := r.srv.Names.HolderOf(name); holds != (err == nil) {
		t.Errorf("the claim: %v; the record gives the device the name: %v", err, holds)
	}
}

// A visitor whose address is banned is sent nowhere on port 80 either, and learns
// nothing of a device.
func TestPort80KnowsBans(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test")
	get, _ := r.plain()
	if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanAddress, Of: "127.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"a.relay.test", "b.relay.test"} {
		for _, path := range []string{"/", "/.well-known/acme-challenge/x"} {
			if resp, _ := get(host, path); resp.StatusCode != 403 {
				t.Errorf("%s%s: %s", host, path, resp.Status)
			}
		}
	}
}

// Visitors who wait for their turn of a bandwidth, for hours to come, are cut with
// the rest, on a stream and on a lane.
func TestCutFindsVisitorsThatWaitForTheirTurn(t *testing.T) {
	for _, lane := range []bool{false, true} {
		r := newRig(t, func(s *relay.Server) {
			s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{Bandwidth: 16}})
		})
		id := newIdentity(t)
		d := r.device(id, "a."+zone)
		endless := func(w io.Writer) { io.Copy(w, zeros{}) }
		var v conn
		if lane {
			var s *framing.Stream
			v, s = r.onLane(d, "a."+zone)
			go endless(s)
		} else {
			d.serve(func(s *framing.Stream) { endless(s) })
			v = r.dial()
			v.Write(helloFor(t, "a."+zone))
		}
		v.SetDeadline(time.Now().Add(patience))
		for start := time.Now(); r.limited("name_bandwidth") == 0 && time.Since(start) < patience; {
			runtime.Gosched()
		}
		if n := r.srv.Cut(relay.Cut{Identity: id.identity(), Why: banned}); n.Visitors != 1 {
			t.Errorf("cut %+v", n)
		}
		if _, err := io.Copy(io.Discard, v); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("on a lane %v: the visitor's connection ends with %v", lane, err)
		}
		r.close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Who is banned, and asks again and again, does not fill the audit log, which keeps
// what the operator has done.
func TestBannedDeviceDoesNotFillTheAuditLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard atomic.Int64
		r := memRig(t, func(s *relay.Server) { s.OnBanned = func(string, string, string) { heard.Add(1) } })
		if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanName, Of: "a." + zone}); err != nil {
			t.Fatal(err)
		}
		id := newIdentity(t)
		const hours = 2
		for range hours * 60 {
			d := r.device(id)
			for range 5 {
				denied(t, d.Claim(t.Context(), framing.Claim{Name: "a." + zone}), framing.DeniedBanned)
			}
			d.Close()
			time.Sleep(time.Minute)
		}
		if n := heard.Load(); n < hours || n > hours*20 {
			t.Errorf("%d entries in %d hours", n, hours)
		}
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}
