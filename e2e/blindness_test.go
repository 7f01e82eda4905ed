package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"testing"

	"keystay/e2e/internal/malice"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// exported is what both ends of one TLS session, and nobody else, know of it.
func exported(t *testing.T, c *tls.Conn) []byte {
	t.Helper()
	state := c.ConnectionState()
	b, err := state.ExportKeyingMaterial("EXPORTER-keystay-e2e", nil, 32)
	if err != nil {
		t.Error(err)
	}
	return b
}

// A visitor has one TLS session, with the device: both ends know the same secret of it.
// With an operator who listens in there are two.
func TestAVisitorsTLSEndsAtTheDevice(t *testing.T) {
	t.Parallel()
	r := world.StartRelay(t)
	ended := make(chan []byte, 1)
	r.Serve(storied, "", func(c *tls.Conn) {
		defer c.Close()
		if c.Handshake() == nil {
			ended <- exported(t, c)
		}
		world.Mirror(c)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := &malice.Front{Name: storied, TLS: &tls.Config{Certificates: []tls.Certificate{testca.New(t).Issue(storied)}},
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", r.Addr) }}
	served := make(chan struct{})
	go func() {
		defer close(served)
		front.Serve(ln)
	}()
	defer func() { <-served }()
	defer front.Close()
	for what, c := range map[string]struct {
		pick malice.Intercept
		same bool
	}{"the relay": {nil, true}, "an operator who listens in": {malice.Everyone, false}} {
		front.Pick(c.pick)
		v, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: storied, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(exported(t, v), <-ended); same != c.same {
			t.Errorf("through %s, both ends have one session: %v", what, same)
		}
		v.Close()
	}
}
