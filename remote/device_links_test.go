package remote_test

import (
	"slices"
	"testing"
	"time"
)

// A device tells of the links that it has, and a listener of the relays that lead its
// name here, each once however many links there are; and of none when they have ended.
func TestADeviceTellsOfItsLinks(t *testing.T) {
	r := newRelay(t)
	cfg := r.deviceConfig()
	cfg.Links = 2
	begun := time.Now()
	d := r.openDevice(cfg)
	if len(d.Links()) != 0 {
		t.Errorf("before the first: %+v", d.Links())
	}
	ln := r.serveNames(d, "one.relay.test")[0]
	r.next()
	r.next()
	links := d.Links()
	if len(links) != 2 {
		t.Fatalf("%+v", links)
	}
	for _, l := range links {
		if l.Relay != zone || l.Since.Before(begun) || l.Since.After(time.Now()) {
			t.Errorf("%+v", l)
		}
	}
	if got := ln.Relays(); !slices.Equal(got, []string{zone}) {
		t.Errorf("%q", got)
	}
	if err := d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.Links()) != 0 || len(ln.Relays()) != 0 {
		t.Errorf("after the end: %+v, %q", d.Links(), ln.Relays())
	}
}
