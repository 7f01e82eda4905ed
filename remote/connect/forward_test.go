package connect_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"keystay/internal/memconn"
	"keystay/remote/connect"
)

// A forwarded is a local port that leads to a name which answers with what it hears.
type forwarded struct {
	*rig
	forward    *connect.Forward
	port       *memconn.Listener
	drain, cut context.CancelFunc
	served     chan error
	failed     chan error
}

func forward(t *testing.T, most int) *forwarded {
	t.Helper()
	f := &forwarded{port: memconn.Listen(nil), served: make(chan error, 1), failed: make(chan error, 100)}
	f.rig = newRig(t, new(tls.Config), func(c net.Conn) {
		defer c.Close()
		io.Copy(c, c)
	})
	var drain, cut context.Context
	drain, f.drain = context.WithCancel(t.Context())
	cut, f.cut = context.WithCancel(t.Context())
	f.forward = &connect.Forward{Dialer: f.dialer, MaxVisitors: most, Failed: func(err error) { f.failed <- err }}
	var once sync.WaitGroup
	once.Go(func() { f.served <- f.forward.Serve(drain, cut, f.port) })
	t.Cleanup(func() { f.drain(); f.cut(); once.Wait() })
	return f
}

// visit connects to the local port, and returns once the name has answered.
func (f *forwarded) visit() net.Conn {
	f.t.Helper()
	c, err := f.port.Dial(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.echo(c)
	return c
}

func (f *forwarded) echo(c net.Conn) {
	f.t.Helper()
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		f.t.Fatal(err)
	}
}

// Each connection has one of its own, and one too many is reset and told.
func TestALocalPortTakesSeveralAndNotOneTooMany(t *testing.T) {
	f := forward(t, 2)
	a, b := f.visit(), f.visit()
	if n := f.forward.Visitors(); n != 2 {
		t.Errorf("%d visitors", n)
	}
	c, err := f.port.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !isReset(c) {
		t.Error("the third one was not reset")
	}
	if err := <-f.failed; !errors.Is(err, connect.ErrCrowd) {
		t.Error(err)
	}
	f.echo(a)
	end(b)
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Error(err)
	}
}

// A port that closes lets those finish that are there, and a cut resets them.
func TestAPortThatClosesLetsTheLastFinish(t *testing.T) {
	f := forward(t, 0)
	a, b := f.visit(), f.visit()
	f.drain()
	for { // until the port is closed
		c, err := f.port.Dial(t.Context())
		if err != nil {
			break
		}
		c.Close()
	}
	f.echo(a)
	end(a)
	if _, err := io.Copy(io.Discard, a); err != nil {
		t.Error(err)
	}
	f.echo(b)
	f.cut()
	if !isReset(b) {
		t.Error("the last one was not reset")
	}
	if err := <-f.served; err != nil {
		t.Error(err)
	}
}

// Where the name is not reached, the local connection is reset and the reason told.
func TestALocalConnectionIsResetWhereTheNameIsNotReached(t *testing.T) {
	f := forward(t, 0)
	f.rig.ln.Close()
	c, err := f.port.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !isReset(c) {
		t.Error("it was not reset")
	}
	var e *connect.Error
	if err := <-f.failed; !errors.As(err, &e) || e.Broken {
		t.Error(err)
	}
}
