package relay_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
	"keystay/relay"
)

// A flaky listener fails for a while, as one does without file descriptors.
type flaky struct {
	*memconn.Listener
	fail int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fail > 0 {
		f.fail--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// Errors of Accept that pass do not end the relay: it tries again, each time
// after a longer pause, of at most a second.
func TestAcceptErrorsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newServer(t, nil)
		r.mem = memconn.Listen(nil)
		r.dial = func() conn { c, _ := r.mem.Dial(context.Background()); return c }
		start := time.Now()
		r.serve(&flaky{r.mem, 20})
		r.refused("unknown.relay.test", unrecognizedName)
		if took := time.Since(start); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("served after %v", took)
		}
		if log := r.log.String(); strings.Count(log, syscall.EMFILE.Error()) != 1 || strings.Count(log, "connections are accepted again") != 1 {
			t.Errorf("the log does not tell once of the beginning and of the end:\n%s", log)
		}
		r.close()
	})
}

// Close ends also a pause between two attempts.
func TestCloseDuringAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newServer(t, nil)
		r.mem = memconn.Listen(nil)
		r.serve(&flaky{r.mem, 1 << 30})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.close()
	})
}

// Several listeners may be served at once, and all end together.
func TestSeveralListenersEndTogether(t *testing.T) {
	r := newRig(t, nil)
	ln := listenTCP(t)
	second := make(chan error, 1)
	go func() { second <- r.srv.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(helloFor(t, "unknown.relay.test"))
	b := make([]byte, 7)
	if _, err := c.Read(b); err != nil || string(b) != unrecognizedName {
		t.Errorf("got %q, %v", b, err)
	}
	r.refused("unknown.relay.test", unrecognizedName)
	r.close()
	if err := <-second; !errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("second: %v", err)
	}
}
