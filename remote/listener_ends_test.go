package remote_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/probe"
)

// exporter returns the exporter of a visitor's connection.
func exporter(t *testing.T, c *tls.Conn) probe.Exporter {
	t.Helper()
	state := c.ConnectionState()
	x, err := probe.ExporterOf(&state)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// soon returns a context that ends at once if over, and else after a minute.
func soon(t *testing.T, over bool) context.Context {
	t.Helper()
	limit := time.Minute
	if over {
		limit = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// A visitor who began while note was taken is known to end here; one of before, and a
// connection of elsewhere, are not.
func TestAListenerKnowsWhichConnectionsEndAtIt(t *testing.T) {
	r := newRelay(t)
	ln := r.start(nil)
	l := r.next()
	before := l.visitor()
	defer before.Close()
	first, second := ln.NoteEnds(), ln.NoteEnds()
	defer first.Close()
	defer second.Close()
	visitor := l.visitor()
	defer visitor.Close()
	if end := first.Await(soon(t, false), exporter(t, visitor)); end != probe.Here {
		t.Errorf("a visitor is %v", end)
	}
	if end := second.Await(soon(t, false), exporter(t, visitor)); end != probe.Here {
		t.Errorf("for the second a visitor is %v", end)
	}
	if end := first.Await(soon(t, true), exporter(t, before)); end != probe.Elsewhere {
		t.Errorf("a visitor of before is %v", end)
	}
	if end := first.Await(soon(t, true), probe.Exporter{1}); end != probe.Elsewhere {
		t.Errorf("a connection of elsewhere is %v", end)
	}
}

// A handshake that has failed, or is not over, could be the one that is asked about.
func TestAListenerIsUnsureAfterAHandshakeThatFailed(t *testing.T) {
	r := newRelay(t)
	ln := r.start(nil)
	l := r.next()
	ends := ln.NoteEnds()
	defer ends.Close()
	stream := l.open(domain, framing.KindTLS)
	c := tls.Client(stream, &tls.Config{ServerName: domain, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS11})
	if err := c.Handshake(); err == nil {
		t.Fatal("TLS 1.1 was agreed on")
	}
	stream.Close()
	if end := ends.Await(soon(t, true), probe.Exporter{1}); end != probe.Unsure {
		t.Errorf("it is %v", end)
	}
	ends.Close()
	ends.Close()
	again := ln.NoteEnds()
	defer again.Close()
	if end := again.Await(soon(t, true), probe.Exporter{1}); end != probe.Elsewhere {
		t.Errorf("without a handshake it is %v", end)
	}
}
