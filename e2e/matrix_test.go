package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/remote"
)

// A round is one visit in which one party ends the connection in some way, and
// all others look at what arrives.
type round struct {
	visitor  *tls.Conn
	wire     *net.TCPConn // the visitor's, below TLS
	device   *tls.Conn    // at the remote
	local    *net.TCPConn // the local service's end
	up, down []byte       // what the two sides send
}

// got is what one side read up to the end, and how that was.
type got struct {
	b   []byte
	err error // nil for an end in good order
}

// readAll reads up to the end.
func readAll(c io.Reader) (g got) {
	g.b, g.err = io.ReadAll(c)
	return g
}

// whole is an error unless want has come and then an end in good order.
func (g got) whole(want []byte) error {
	if g.err != nil || !bytes.Equal(g.b, want) {
		return fmt.Errorf("got %d bytes and %w, want %d and an end in good order", len(g.b), g.err, len(want))
	}
	return nil
}

// cutOff is an error if what came looks complete, or is not how want begins.
func (g got) cutOff(want []byte) error {
	if g.err == nil {
		return fmt.Errorf("got %d of %d bytes and an end in good order, want a reset", len(g.b), len(want))
	}
	if !bytes.HasPrefix(want, g.b) {
		return fmt.Errorf("got %d bytes that were not sent", len(g.b))
	}
	return nil
}

// writes writes for ever and returns the error.
func writes(c net.Conn) error {
	for {
		if _, err := c.Write(make([]byte, 16<<10)); err != nil {
			return err
		}
	}
}

// isReset says whether an error is how a reset is seen.
func isReset(err error) error {
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("write: %w, want a reset", err)
	}
	return nil
}

// matrix has, for each party and way to end, what the others must see. Sides
// that are not in question do what ends in good order.
var matrix = []struct {
	name string
	run  func(*round) error
}{
	{"visitor/half-close", func(r *round) error {
		r.visitor.Write(r.up)
		r.visitor.CloseWrite()
		err := readAll(r.local).whole(r.up)
		r.local.Write(r.down) // the other direction goes on
		r.local.Close()
		return errors.Join(err, readAll(r.visitor).whole(r.down))
	}},
	{"visitor/FIN", func(r *round) error {
		var wrote sync.WaitGroup
		wrote.Go(func() { r.visitor.Write(r.up) })
		go r.local.Write(r.down)
		_, err := io.ReadFull(r.visitor, make([]byte, len(r.down)))
		b := make([]byte, len(r.up))
		_, err2 := io.ReadFull(r.local, b)
		wrote.Wait() // crypto/tls sends no close_notify while a Write is under way
		r.visitor.Close()
		return errors.Join(err, err2, readAll(r.local).whole(nil))
	}},
	{"visitor/RST", func(r *round) error {
		r.visitor.Write(r.up)
		socket.Abort(r.wire)
		return readAll(r.local).cutOff(r.up)
	}},
	{"visitor/RST while the local service sends", func(r *round) error {
		errs := make(chan error, 1)
		go func() { errs <- writes(r.local) }()
		io.ReadFull(r.visitor, make([]byte, 100_000))
		socket.Abort(r.wire)
		return isReset(<-errs)
	}},
	{"visitor/FIN without TLS's own end", func(r *round) error { // its program has died
		r.visitor.Write(r.up)
		r.wire.Close()
		return readAll(r.local).cutOff(r.up)
	}},
	{"visitor/half-close without TLS's own end", func(r *round) error {
		r.visitor.Write(r.up)
		r.wire.CloseWrite()
		return readAll(r.local).cutOff(r.up)
	}},
	{"visitor/close with unread data", func(r *round) error {
		errs := make(chan error, 1)
		go func() { errs <- writes(r.local) }()
		io.ReadFull(r.visitor, make([]byte, 1)) // more has arrived
		r.visitor.Close()
		return isReset(<-errs)
	}},
	{"local/half-close", func(r *round) error {
		r.local.Write(r.down)
		r.local.CloseWrite()
		err := readAll(r.visitor).whole(r.down)
		r.visitor.Write(r.up)
		r.visitor.CloseWrite()
		return errors.Join(err, readAll(r.local).whole(r.up))
	}},
	{"local/FIN", func(r *round) error {
		r.local.Write(r.down)
		r.local.Close()
		return readAll(r.visitor).whole(r.down)
	}},
	{"local/RST", func(r *round) error {
		r.local.Write(r.down)
		socket.Abort(r.local)
		return readAll(r.visitor).cutOff(r.down)
	}},
	{"local/RST while the visitor sends", func(r *round) error {
		errs := make(chan error, 1)
		go func() { errs <- writes(r.visitor) }()
		io.ReadFull(r.local, make([]byte, 100_000))
		socket.Abort(r.local)
		return isReset(<-errs)
	}},
	{"local/close with unread data", func(r *round) error {
		r.visitor.Write(append(r.up, 0))
		io.ReadFull(r.local, make([]byte, 1)) // one of several that have arrived
		eventuallyUnread(r.local)
		r.local.Write(r.down)
		r.local.Close()
		return readAll(r.visitor).cutOff(r.down)
	}},
	{"remote/half-close", func(r *round) error {
		r.device.Write(r.down)
		r.device.CloseWrite()
		err := readAll(r.visitor).whole(r.down)
		r.visitor.Write(r.up)
		r.visitor.CloseWrite()
		return errors.Join(err, readAll(r.device).whole(r.up))
	}},
	{"remote/FIN", func(r *round) error {
		r.visitor.Write(r.up)
		r.visitor.CloseWrite()
		err := readAll(r.device).whole(r.up)
		r.device.Write(r.down)
		r.device.Close()
		return errors.Join(err, readAll(r.visitor).whole(r.down))
	}},
	{"remote/RST", func(r *round) error {
		r.device.Write(r.down)
		socket.Abort(r.device)
		return readAll(r.visitor).cutOff(r.down)
	}},
	{"remote/close with unread data", func(r *round) error {
		errs := make(chan error, 1)
		go func() { errs <- writes(r.visitor) }()
		io.ReadFull(r.device, make([]byte, 1))
		r.device.Close()
		return isReset(<-errs)
	}},
}

// eventuallyUnread waits until data that nobody reads has arrived.
func eventuallyUnread(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(fd uintptr) bool { // called again when there may be something
		n, _, _ := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n > 0
	})
}

// TestEachEndArrivesAsTheSameSignal has each party end a connection in each way, and looks at what
// arrives at the others: the same signal, and never a truncation that looks
// complete.
func TestEachEndArrivesAsTheSameSignal(t *testing.T) {
	t.Parallel()
	t.Run("stream", func(t *testing.T) { t.Parallel(); testMatrix(t, remote.Config{NoLanes: true}) })
	// A lane is asked for with the first byte, so that what follows meets the
	// move at any point.
	t.Run("lane", func(t *testing.T) { t.Parallel(); testMatrix(t, remote.Config{LaneAfter: 1}) })
}

func testMatrix(t *testing.T, c remote.Config) {
	rounds, atOnce := 8, 4
	if soaking() {
		rounds = 1000
	}
	r := world.StartRelay(t)
	devices := make(chan *tls.Conn)
	r.ServeWith(c, "matrix."+pathZone, "", func(c *tls.Conn) { devices <- c })
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	var pairing sync.Mutex // so that the ends belong together
	for _, m := range matrix {
		t.Run(m.name, func(t *testing.T) {
			var wg sync.WaitGroup
			defer wg.Wait()
			for range atOnce {
				wg.Go(func() {
					for range (rounds + atOnce - 1) / atOnce {
						if err := playRound(r, &pairing, devices, service, m.name, m.run); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		})
	}
}

// playRound makes one visit and has run end it.
func playRound(r *world.Relay, pairing *sync.Mutex, devices chan *tls.Conn, service net.Listener, name string, run func(*round) error) error {
	p := &round{up: someBytes(), down: someBytes()}
	pairing.Lock()
	var err error
	if p.visitor, p.wire, err = r.Visit("matrix."+pathZone, ""); err != nil {
		pairing.Unlock()
		return err
	}
	defer p.wire.Close()
	p.device = <-devices
	atRemote := name[:6] == "remote"
	var copied sync.WaitGroup
	defer copied.Wait()
	defer p.device.Close()
	if !atRemote {
		var dialed net.Conn
		if dialed, err = net.Dial("tcp", service.Addr().String()); err == nil {
			var c net.Conn
			if c, err = service.Accept(); err == nil {
				p.local = c.(*net.TCPConn)
			}
		}
		if err != nil {
			pairing.Unlock()
			return err
		}
		defer p.local.Close()
		p.local.SetDeadline(time.Now().Add(world.Patience))
		copied.Go(func() { duplex.Copy(p.device, dialed.(*net.TCPConn), duplex.Options{}) })
	} else {
		p.device.SetDeadline(time.Now().Add(world.Patience))
	}
	pairing.Unlock()
	p.visitor.SetDeadline(time.Now().Add(world.Patience))
	return run(p)
}

// someBytes returns 1 to 200,000 bytes, often few.
func someBytes() []byte {
	b := make([]byte, 1+mrand.IntN([]int{1, 100, 200_000}[mrand.IntN(3)]))
	rand.Read(b)
	return b
}
