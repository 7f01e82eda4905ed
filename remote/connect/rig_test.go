package connect_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "box.relay.test"

// A rig is a name that is served in memory.
type rig struct {
	t      *testing.T
	ca     *testca.CA
	ln     *memconn.Listener
	dialer *connect.Dialer
}

// newRig serves the name: serve gets each connection, before its handshake where config
// is nil.
func newRig(t *testing.T, config *tls.Config, serve func(net.Conn)) *rig {
	t.Helper()
	r := &rig{t: t, ca: testca.New(t), ln: memconn.Listen(nil)}
	r.dialer = &connect.Dialer{Name: name, Roots: r.ca.Pool(), Dial: func(ctx context.Context, address string) (net.Conn, error) {
		if address != name+":443" {
			t.Errorf("%s is dialled", address)
		}
		return r.ln.Dial(ctx)
	}}
	if config != nil && len(config.Certificates) == 0 {
		config.Certificates = []tls.Certificate{r.ca.Issue(name)}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := r.ln.Accept()
			if err != nil {
				return
			}
			if config != nil {
				c = tls.Server(c, config)
			}
			go serve(c)
		}
	}()
	t.Cleanup(func() { r.ln.Close(); <-done })
	return r
}

// local copies between a connection to the name and the one that it returns.
func (r *rig) local() (near *memconn.Conn, copied chan error) {
	r.t.Helper()
	c, err := r.dialer.Connect(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	near, far := memconn.Pipe(0)
	copied = make(chan error, 1)
	go func() { copied <- r.dialer.Copy(far, c) }()
	return near, copied
}

// isReset reports whether a read says that the connection was not ended in good order.
func isReset(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err != nil && !errors.Is(err, net.ErrClosed)
}

// end ends the sending side of a connection.
func end(c net.Conn) {
	c.(duplex.Conn).CloseWrite()
}
