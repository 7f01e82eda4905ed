package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/plain"
)

// dialTimeout is how long one attempt to reach a relay may take, from the
// look-up of its address to its answer.
const dialTimeout = 15 * time.Second

// errNotRelay is the error of a TLS server that does not speak our protocol.
var errNotRelay = errors.New("it does not speak " + framing.Protocol)

// errNoCertificate is the error of a relay that cannot show a certificate.
var errNoCertificate = errors.New("the relay has no certificate yet")

// link links to one relay, over the transports that may get through to it. What it learns
// of them at a node says nothing of the others.
func (w *way) link(ctx context.Context, relay string, to target, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	d := w.d
	var before error // of the transport that was tried first
	plan := d.transports.plan(relay)
	began := plan.small
	for _, by := range plan.transports {
		link, welcome, err := w.linkKnown(ctx, by, plan.small, relay, to, handler)
		if err == nil && to != (target{}) {
			return link, welcome, nil
		}
		if err == nil {
			w.tellWay(relay, by, plan.small, before)
			untried := by == TransportWSS && plan.small && !began
			d.tellUnsaved(d.transports.reached(relay, worked{by: by, small: plan.small, untried: untried}))
			return link, welcome, nil
		}
		if ctx.Err() != nil { // given up by this side, which says nothing of the path
			return nil, welcome, ctx.Err()
		}
		again := blocked(err)
		if before != nil {
			err = &blockedError{tls: before, wss: err}
		}
		if !again {
			return nil, welcome, err
		}
		before = err
		if isLostHello(err) {
			plan.small = true
		}
	}
	if to != (target{}) {
		return nil, framing.Welcome{}, before
	}
	// Where a small hello is lost too, its size is not the reason.
	d.tellUnsaved(d.transports.failed(relay, plan.small && !began))
	return nil, framing.Welcome{}, before
}

// tellWay logs what was found out about the way to a relay. Before is why TLS
// did not get through just now, or nil.
func (w *way) tellWay(relay string, by Transport, small bool, before error) {
	log := w.d.log
	switch {
	case by == TransportWSS && before != nil:
		w.tellings.reached(standing{why: string(by)}, func() {
			log.Info("only a WebSocket gets through to the relay", "relay", relay, "tls", before)
		})
	case small && !w.d.transports.knows(relay, by, small):
		w.tellings.reached(standing{why: smallWord}, func() {
			log.Info("the relay is reached with a smaller first message", "relay", relay, hint.Attr(hint.SmallHello.Do))
		})
	case !small && (by == TransportTLS || !w.d.transports.auto):
		w.tellings.reached(standing{}, func() {
			log.Info("the relay is reached as usual again", "relay", relay)
		})
	}
}

// tellUnsaved says what keeps the way to a relay from being remembered.
func (d *Device) tellUnsaved(err error) {
	if err != nil {
		d.log.Warn("cannot remember how the relay is reached", "err", err)
	}
}

// errOlder is why a link is given up that has got to an older relay than the one before it.
var errOlder = errors.New("the relay speaks an older version of the protocol than it did just before")

// linkKnown is linkOver with the key that the relay knows: it may be older or newer than was
// known, and so know another one.
func (w *way) linkKnown(ctx context.Context, by Transport, small bool, relay string, to target, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	keys := &w.d.state.keys
	for again := false; ; again = true {
		link, welcome, err := w.linkOver(ctx, by, small, relay, to, handler)
		if err != nil {
			return link, welcome, err
		}
		keys.learn(relay, welcome.Minor)
		switch older := welcome.Minor < handoverMinor; {
		case keys.isFor(relay, welcome.Minor, link.Identity()) || again && !older:
			return link, welcome, nil // what has an old key is left for another one, in good order
		case again: // a new key would take names there that the old one has to have
			link.Close()
			return nil, welcome, errOlder
		}
		link.Close()
	}
}

// linkOver links to one relay over one transport, with a small ClientHello or
// the usual one.
func (w *way) linkOver(ctx context.Context, by Transport, small bool, relay string, to target, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port := splitRelay(relay)
	conn, err := w.dial(ctx, host, port, to)
	if err != nil {
		return nil, framing.Welcome{}, err
	}
	hello := framing.Hello{Run: w.d.state.run, Agent: "keystay-remote/" + w.d.cfg.Version, Capabilities: framing.CapabilityReturn | framing.CapabilityPorts}
	lanes := w.newLanes(host, small)
	if by == TransportTLS && w.direct(relay) && !w.d.cfg.NoLanes {
		hello.Capabilities |= framing.CapabilityLanes
		handler.Bulk, handler.BulkAfter = lanes.noticeBulk, cmp.Or(w.d.cfg.LaneAfter, DefaultLaneAfter)
		handler.Chatty = lanes.noticeChatty
	}
	link, welcome, err := w.d.greet(ctx, conn, by, small, host, hello, handler)
	if err != nil {
		return nil, welcome, w.throughProxy(relay, err)
	}
	if w.direct(relay) {
		w.doors.verified(conn.RemoteAddr(), to)
		w.nodes.tell() // of nodes that it may have been told already
	}
	if link.Lanes() {
		w.d.wg.Go(func() { lanes.serve(link) })
	}
	return link, welcome, nil
}

// greet begins a link on conn, which it closes when that fails.
func (d *Device) greet(ctx context.Context, conn net.Conn, by Transport, small bool, host string, hello framing.Hello, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	tc, err := d.handshake(ctx, conn, by, small, host)
	if err != nil {
		return nil, framing.Welcome{}, err
	}
	cs := tc.ConnectionState()
	if err := hello.Sign(d.state.keys.forRelay(host), &cs, strings.ToLower(host)); err != nil {
		conn.Close()
		return nil, framing.Welcome{}, err
	}
	conn = tc
	if by == TransportWSS {
		var err error
		if conn, err = framing.DialWebSocket(ctx, tc, host); err != nil {
			return nil, framing.Welcome{}, err
		}
	}
	return framing.Client(ctx, conn, hello, handler)
}

// handshake begins TLS with a relay on conn, which it closes when that fails.
func (d *Device) handshake(ctx context.Context, conn net.Conn, by Transport, small bool, host string) (*tls.Conn, error) {
	proto := framing.Protocol
	if by == TransportWSS {
		proto = protoHTTP
	}
	tc := tls.Client(framing.NewBufferedConn(conn), &tls.Config{
		ServerName: host,
		RootCAs:    d.cfg.RelayRoots,
		MinVersion: tls.VersionTLS13, // the proof of identity needs its exporter
		NextProtos: []string{proto},

		CurvePreferences: curves(small),
		// Whole records from the start: nobody renders the first bytes early here.
		DynamicRecordSizingDisabled: true,
	})
	if err := relayHandshake(ctx, tc, proto); err != nil {
		conn.Close()
		return nil, err
	}
	return tc, nil
}

// protoHTTP is the ALPN protocol below a WebSocket.
const protoHTTP = "http/1.1"

// relayHandshakeTimeout is how long a relay's TLS handshake may take: it gives up
// itself after as long.
const relayHandshakeTimeout = 10 * time.Second

func relayHandshake(ctx context.Context, tc *tls.Conn, proto string) error {
	short, cancel := context.WithTimeout(ctx, relayHandshakeTimeout)
	defer cancel()
	err := tc.HandshakeContext(short)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = &noAnswerError{"the TLS handshake", relayHandshakeTimeout}
	}
	got := tc.ConnectionState().NegotiatedProtocol
	switch {
	case isAlert(err, alertUnrecognizedName):
		return fmt.Errorf("it answers, but under another name: %w", err)
	case isAlert(err, alertNoApplicationProtocol):
		return errNotRelay
	case isAlert(err, alertInternalError):
		return fmt.Errorf("%w (%w)", errNoCertificate, err)
	case err != nil && tc.ConnectionState().Version == 0 && isSilence(err):
		return &lostHelloError{err}
	case err != nil:
		return plain.Error(issuedBy(err)) // it can quote a certificate
	case got != proto && !(got == "" && proto == protoHTTP):
		return errNotRelay
	}
	return nil
}

// isAlert reports whether the other side sent that alert. Over TCP crypto/tls
// keeps the type of its alerts to itself; they read the same as the one that it
// exports for QUIC.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

// Alerts that say something about a relay (RFC 8446, section 6).
const (
	alertInternalError         tls.AlertError = 80 // crypto/tls without a certificate
	alertUnrecognizedName      tls.AlertError = 112
	alertNoApplicationProtocol tls.AlertError = 120
)
