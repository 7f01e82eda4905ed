package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// MaxUnwanted is how many handshakes there are with visitors whom the rules refuse.
const MaxUnwanted = maxUnwanted

// Unwanted are those handshakes.
type Unwanted = unwanted

// Enter is enter.
func (u *unwanted) Enter(stream *framing.Stream) bool { return u.enter(stream) }

// Leave is leave.
func (u *unwanted) Leave(stream *framing.Stream) { u.leave(stream) }

// KeepsCertificate reports whether a device orders and renews the certificate of a name.
func KeepsCertificate(d *Device, name string) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return !errors.Is(d.orders.keeper.Wait(ctx, name), acme.ErrUnknownName)
}

// SetTurnPatience sets turnPatience, and returns what sets it back.
func SetTurnPatience(d time.Duration) (back func()) {
	was := turnPatience
	turnPatience = d
	return func() { turnPatience = was }
}

// SetTurnAnswer sets turnAnswer, and returns what sets it back.
func SetTurnAnswer(d time.Duration) (back func()) {
	was := turnAnswer
	turnAnswer = d
	return func() { turnAnswer = was }
}

// AwaitTurn waits for a turn to order a certificate.
func AwaitTurn(ctx context.Context, l *Listener) error { return l.turn.await(ctx) }

// ErrNoTurn is errNoTurn.
var ErrNoTurn = errNoTurn

// EndsSoon is endsSoon.
func EndsSoon(c *x509.Certificate) bool { return endsSoon(c) }

// WakeUp does what the end of a sleep and another network do.
func WakeUp(l *Listener) { l.d.wakeUp() }

// EndLate makes l take no visitor any more, not even one that is on its way.
func EndLate(l *Listener) { l.d.endLate() }

// ListenAll is Listen for several names on one device.
func ListenAll(cfg Config, domains ...string) (list []*Listener, err error) {
	d, err := Open(cfg.device())
	if err != nil {
		return nil, err
	}
	var names []Name
	for _, domain := range domains {
		n := cfg.name()
		n.Domain = domain
		names = append(names, n)
	}
	return d.Listen(names...)
}

// DeviceOf is the device of a listener.
func DeviceOf(l *Listener) *Device { return l.d }

// VisitorsPlaced is how many places for visitors the networks that they come from
// have taken.
func VisitorsPlaced(l *Listener) int { return int(l.d.networks.places.Used() / place) }

// MaxLeft is how many links of relays that go away a device keeps.
const MaxLeft = maxLeft

// MaxHTTP01 is how many HTTP-01 streams a listener has at once.
const MaxHTTP01 = maxHTTP01

// MaxHellos sets how many visitors without a relay there are whose hello is not whole.
func MaxHellos(d *Device, n int) { d.home.hellos.most = n }

// ListenHastily is Listen, on a device that moves its links between nodes so many times
// as fast.
func ListenHastily(cfg Config, times int) (*Listener, error) {
	d, err := Open(cfg.device())
	if err != nil {
		return nil, err
	}
	d.haste = times
	n := cfg.name()
	n.only = true
	list, err := d.Listen(n)
	if err != nil {
		d.Close()
		return nil, err
	}
	return list[0], nil
}

// RehearsalPort is where the order of a name is rehearsed.
func (d *Device) RehearsalPort(name string) int { return d.orders.port(name) }
