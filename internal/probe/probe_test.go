package probe_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/probe"
	"keystay/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both returns what the two ends of a new connection export.
func both(t *testing.T) (client, server probe.Exporter) {
	t.Helper()
	ca := testca.New(t)
	a, b := memconn.Pipe(1 << 16)
	defer a.Close()
	defer b.Close()
	c := tls.Client(a, &tls.Config{ServerName: "xyz.relay.example", RootCAs: ca.Pool()})
	s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{ca.Issue("xyz.relay.example")}})
	done := make(chan error, 1)
	go func() { done <- s.HandshakeContext(context.Background()) }()
	if err := c.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var of [2]probe.Exporter
	for i, conn := range []*tls.Conn{c, s} {
		state := conn.ConnectionState()
		var err error
		if of[i], err = probe.ExporterOf(&state); err != nil {
			t.Fatal(err)
		}
	}
	return of[0], of[1]
}

func TestBothEndsExportTheSameAndOtherConnectionsSomethingElse(t *testing.T) {
	c1, s1 := both(t)
	c2, s2 := both(t)
	if c1 != s1 || c2 != s2 || c1 == c2 || c1 == (probe.Exporter{}) {
		t.Errorf("%x %x, %x %x", c1, s1, c2, s2)
	}
}

func Example() {
	var x probe.Exporter
	fmt.Println(len(x), probe.Label)
	// Output: 32 EXPORTER-keystay-watch-v1
}
