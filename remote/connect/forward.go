package connect

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// DefaultMaxVisitors is how many connections a Forward carries at once, where
// MaxVisitors does not say.
const DefaultMaxVisitors = 256

// ErrCrowd is why a connection was reset that was one too many.
var ErrCrowd = errors.New("too many connections to the local port at once")

// A Forward leads the connections to a local port to a name, each by a TLS connection of
// its own.
type Forward struct {
	Dialer *Dialer

	// MaxVisitors is how many connections there may be at once: the next one is reset. 0
	// means DefaultMaxVisitors.
	MaxVisitors int

	// Failed is told why a connection was reset, an *Error, or ErrCrowd where there were
	// too many. It may be called by several goroutines at once. Nil tells nobody.
	Failed func(error)

	visitors atomic.Int64
}

// Visitors is how many connections there are.
func (f *Forward) Visitors() int { return int(f.visitors.Load()) }

// Serve leads what ln accepts to the name, until drain ends; then it closes ln, and those
// that are there may finish until cut ends, which resets them. A cut must not come before
// the drain. Serve returns when all are gone: nil, or why ln accepts no more.
func (f *Forward) Serve(drain, cut context.Context, ln net.Listener) error {
	stop := context.AfterFunc(drain, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	most := f.MaxVisitors
	if most <= 0 {
		most = DefaultMaxVisitors
	}
	places := make(chan struct{}, most)
	var visits sync.WaitGroup
	defer visits.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if drain.Err() != nil {
				return nil
			}
			return err
		}
		local, ok := c.(duplex.Conn)
		if !ok {
			socket.Abort(c)
			continue
		}
		select {
		case places <- struct{}{}:
			visits.Go(func() {
				f.visitors.Add(1)
				defer func() {
					f.visitors.Add(-1)
					<-places
				}()
				f.visit(cut, local)
			})
		default:
			socket.Abort(c)
			f.failed(ErrCrowd)
		}
	}
}

// visit leads one connection to the name.
func (f *Forward) visit(cut context.Context, local duplex.Conn) {
	name, err := f.Dialer.Connect(cut)
	if err != nil {
		socket.Abort(local)
		if cut.Err() == nil {
			f.failed(err)
		}
		return
	}
	stop := context.AfterFunc(cut, func() { socket.Abort(local) })
	defer stop()
	if err := f.Dialer.Copy(local, name); err != nil && cut.Err() == nil {
		f.failed(err)
	}
}

func (f *Forward) failed(err error) {
	if f.Failed != nil {
		f.Failed(err)
	}
}
