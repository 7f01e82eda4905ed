package remote_test

import (
	"context"
	"crypto/tls"
	"net"
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
	if end := first.Await(soon(t, false), exporter(t, visitor), probe.Random{}); end != probe.Here {
		t.Errorf("a visitor is %v", end)
	}
	if end := second.Await(soon(t, false), exporter(t, visitor), probe.Random{}); end != probe.Here {
		t.Errorf("for the second a visitor is %v", end)
	}
	if end := first.Await(soon(t, true), exporter(t, before), probe.Random{}); end != probe.Elsewhere {
		t.Errorf("a visitor of before is %v", end)
	}
	if end := first.Await(soon(t, true), probe.Exporter{1}, probe.Random{}); end != probe.Elsewhere {
		t.Errorf("a connection of elsewhere is %v", end)
	}
}

// A handshake that has failed, or is not over, could be the one that is asked about if it
// began with that hello; others do not matter.
func TestAListenerIsUnsureAfterTheSameHelloHasFailed(t *testing.T) {
	r := newRelay(t)
	ln := r.start(nil)
	l := r.next()
	ends := ln.NoteEnds()
	defer ends.Close()
	stream := l.open(domain, framing.KindTLS)
	first := make([]byte, 0, 64)
	c := tls.Client(&sent{Conn: stream, first: &first}, &tls.Config{ServerName: domain, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS11})
	if err := c.Handshake(); err == nil {
		t.Fatal("TLS 1.1 was agreed on")
	}
	stream.Close()
	random := probe.Random(first[11:43])
	if end := ends.Await(soon(t, true), probe.Exporter{1}, random); end != probe.Unsure {
		t.Errorf("after the same hello it is %v", end)
	}
	// As soon as the handshake is over there.
	later := ln.NoteEnds()
	defer later.Close()
	visitor := l.visitor()
	defer visitor.Close()
	if end := later.Await(soon(t, false), exporter(t, visitor), random); end != probe.Here {
		t.Errorf("a visitor is %v", end)
	}
	if end := later.Await(soon(t, true), probe.Exporter{1}, random); end != probe.Elsewhere {
		t.Errorf("without that hello it is %v", end)
	}
	ends.Close()
	ends.Close()
}

// sent keeps the first bytes that are written.
type sent struct {
	net.Conn
	first *[]byte
}

func (s *sent) Write(p []byte) (int, error) {
	*s.first = append(*s.first, p[:min(len(p), cap(*s.first)-len(*s.first))]...)
	return s.Conn.Write(p)
}
