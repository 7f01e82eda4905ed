package remote

import (
	"context"
	"errors"
	"net"
	"time"

	"keystay/framing"
	"keystay/internal/socket"
	"keystay/sni"
)

const (
	// homeTimeout is how long a visitor who has come without a relay may leave what it was
	// sent without taking it, or saying that it has come.
	homeTimeout = 5 * time.Minute
	// maxHellos is how many such visitors there may be at once whose hello is not whole.
	// A further one takes the place of another, see unwanted.
	maxHellos = 256
)

// ServeHome lets visitors of the device's names come to ln, an address of the device's
// own, beside those whom the relays send: with the same certificates, rules and limits,
// to the same listeners, whether a relay is there or not. RemoteAddr of such a visitor is
// the address that the network has, and not one that a relay says. A CA's validation by TLS-ALPN-01 is answered too. A
// visitor who asks for another name, or for none, gets the alert unrecognized_name.
//
// ServeHome blocks until ln is closed, or the device is, and closes ln. Visitors who have
// come stay. It returns an error that wraps [net.ErrClosed], or why ln accepts no more.
func ServeHome(d *Device, ln net.Listener) error {
	stop := context.AfterFunc(d.ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	var pause time.Duration
	for {
		c, err := ln.Accept()
		if err != nil {
			var network net.Error
			if !errors.As(err, &network) || errors.Is(err, net.ErrClosed) {
				return err
			}
			// As without a descriptor: what has one ends at some time.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			sleep(d.ctx, pause)
			continue
		}
		pause = 0
		conn, ok := c.(sni.Conn)
		if !ok {
			socket.Abort(c)
			continue
		}
		v := &homeVisit{Conn: conn, home: d.home, header: framing.Header{Kind: framing.KindTLS, Source: addrPortOf(c.RemoteAddr()), Dest: addrPortOf(c.LocalAddr())}}
		if !d.home.enter(d, v) {
			socket.Abort(c)
			continue
		}
		go func() {
			defer d.wg.Done()
			defer d.arriving.Done()
			v.receive(d)
		}()
	}
}

// sleep waits for so long, or until ctx ends.
func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// HomeVisitors is how many visitors of a device are there who have come by [ServeHome].
func HomeVisitors(d *Device) int { return d.home.count(nil) }
