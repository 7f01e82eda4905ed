package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// A round keeps no certificates: the alarm has them, as many as evidence keeps.
func TestLongChainsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		spy := testca.New(t).Issue(name)
		leaf := spy.Certificate[0]
		for range 8 {
			spy.Certificate = append(spy.Certificate, make([]byte, 30<<10))
		}
		var addresses []string
		for i := range watch.MaxAddresses {
			addresses = append(addresses, fmt.Sprintf("192.0.2.%d", i+1))
		}
		w := &watch.Watch{Resolvers: []watch.Resolver{gives(addresses...)}, Ways: []watch.Way{d.to(func(c net.Conn) { d.serve(c, spy, false, d.key) })}}
		round, alarms := first(t, w, d.name())
		for i := range round.Results {
			if r := &round.Results[i]; r.State != watch.Intercepted || r.Kept() > 0 {
				t.Errorf("%s, with %d bytes of certificates", r.State, r.Kept())
			}
		}
		if len(round.Results) != len(addresses) || len(alarms) != 1 {
			t.Fatalf("%d results; %d alarms", len(round.Results), len(alarms))
		}
		size := 0
		for _, der := range alarms[0].Chain {
			size += len(der)
		}
		if size > watch.MaxEvidenceSize || !bytes.Equal(alarms[0].Chain[0], leaf) || len(alarms[0].Chain) != 3 {
			t.Errorf("the alarm has %d certificates with %d bytes", len(alarms[0].Chain), size)
		}
	})
}

// What one look finds is told while another one of the round still waits.
func TestAnAlarmDoesNotWaitForTheOtherLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		spy := testca.New(t).Issue(name)
		to := d.to(func(c net.Conn) { d.serve(c, spy, false, d.key) })
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1", "192.0.2.2")}, Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if address == "192.0.2.2:443" {
				<-ctx.Done()
				return nil, errors.New("silent")
			}
			return to.Dial(ctx, address)
		}}}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		var raised, told time.Duration
		w.Alarms = &watch.Alarms{Stop: func(watch.Alarm) { raised = time.Since(began) }}
		n := d.name()
		n.Told = func(*watch.Round) { told = time.Since(began); cancel() }
		w.Run(ctx, n, nil)
		if raised > time.Second || told < 10*time.Second {
			t.Errorf("the alarm is raised after %v, and the round told after %v", raised, told)
		}
	})
}
