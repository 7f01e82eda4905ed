package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/hint"
	"keystay/internal/panics"
)

// How a remote stays connected.
//
// A device has a way to each of its relays, and a way keeps some links to its
// relay, two unless the owner says otherwise. Each link has a linker, which goes
// round: wait for its turn, dial, claim the names, serve, wait a while.
//
//	link_line.go       whose turn it is: while no link is up, one is dialled alone
//	link_connect.go    which relay: the one that gave the name, or a climb to it
//	link_dial.go       which address, and TCP to it, perhaps through a proxy
//	link_transport.go  TLS or a WebSocket: what to try, and what has worked
//	link_greet.go      the TLS handshake, the proof of identity, HELLO
//	link_session.go    the claims, and what ends a session
//	link_left.go       what becomes of a link whose relay goes away
//	link_linker.go     what then: give up, dial again at once, or wait
//	link_retry.go      how long that wait is
//	link_log.go        what the log says of all this; link_outage.go: how often
//
// A link ends when it is lost, when its relay goes away, or when the relay takes
// the name back. While a relay goes away, the next link is dialled beside the old
// one, which lives on for the visitors that it has. A relay that refuses the
// device or its name for good ends its way, and the last way ends the device.
// When the device has slept or is on another network, device_wake.go asks every
// link for a sign of life and cuts every wait short. Close tells the relays, and
// device_drain.go waits for the visitors.

// A device is a run of one identity: its state directory, the ways to its relays
// with their links, and the listeners whose names it claims on each link.
type device struct {
	cfg        Config // but for what concerns a name alone; see Listener
	log        *slog.Logger
	panics     *panics.Log
	state      *state
	ways       []*way
	transports transports
	alarm      alarm        // after sleep, or on another network
	loss       pathLoss     // to the relays
	most       int          // visitors at once
	pool       int          // of each link, in bytes
	networks   *networks    // that they come from
	crowded    outage       // visitors of a network that has too many, for ever
	full       outage       // while there are more
	left       atomic.Int32 // links of relays that go away
	unwanted   outage       // of relays that pass on whom the rules refuse; it never ends

	// The ends of the device, in their order; see stop.
	ctx      context.Context // ends with Close, or a final error
	cancel   context.CancelCauseFunc
	late     context.Context // ends when, after ctx, no connection will come any more
	endLate  context.CancelFunc
	cut      context.Context // ends when nothing is served any more
	cutAll   context.CancelFunc
	arriving sync.WaitGroup // links that accept, and visitors on their way to Accept
	wg       sync.WaitGroup

	mu        sync.Mutex
	listeners map[string]*Listener // by name
	links     map[*framing.Link]struct{}
	port      int // the relays' public port, 0 until it is known
	stopped   bool
	token     string // see Listener.SetToken
}

// openDevice begins a run, which writes to the state directory. Nothing is
// dialled before start.
func openDevice(cfg Config) (*device, error) {
	d := &device{cfg: cfg, log: cfg.Logger, token: cfg.Token,
		listeners: make(map[string]*Listener), links: make(map[*framing.Link]struct{})}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.panics = &panics.Log{Logger: d.log}
	available, _ := budget.Available()
	d.most, d.pool = maxVisitors(cfg.MaxVisitors, available), linkPool(available)
	d.networks = newNetworks(d.most)
	var err error
	if d.state, err = openState(cfg.StateDir); err != nil {
		return nil, err
	}
	d.tellStrays()
	d.transports.init(cfg.Transport, d.state)
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	d.cut, d.cutAll = context.WithCancel(context.Background())
	d.late, d.endLate = context.WithCancel(d.cut)
	return d, nil
}

// tellStrays logs what the owner should know of the state directory.
func (d *device) tellStrays() {
	for _, err := range d.state.strays {
		d.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	d.state.strays = nil
}

// addWays makes the ways to the relays of how, or without any, the way to the
// relay that a climb from domain finds.
func (d *device) addWays(how served, domain string) error {
	relays, addresses := how.Relays, d.cfg.RelayAddresses
	if len(relays) > 1 && len(addresses) > 0 && len(addresses) != len(relays) {
		return fmt.Errorf("listen: %d relays and %d addresses of them", len(relays), len(addresses))
	}
	for i, relay := range relays {
		w := &way{d: d, candidates: []string{relay}, named: how.Named, addresses: addresses}
		if len(relays) > 1 && len(addresses) > 0 {
			w.addresses = addresses[i : i+1]
		}
		d.ways = append(d.ways, w)
	}
	if len(d.ways) > 0 {
		return nil
	}
	candidates := climb(domain)
	if len(candidates) == 0 {
		return fmt.Errorf("%s: %w", domain, errNoneAbove)
	}
	d.ways = []*way{{d: d, candidates: candidates, addresses: addresses}}
	return nil
}

// start begins to dial, and to look out for sleep.
func (d *device) start() {
	d.wg.Go(d.run)
	d.wg.Go(d.watch)
}

// run keeps the links to all relays until the device ends, or none of them will
// serve it.
func (d *device) run() {
	links := d.cfg.Links
	if links == 0 {
		links = DefaultLinks
	}
	errs := make(chan error, len(d.ways))
	for _, w := range d.ways {
		d.wg.Go(func() {
			err := w.run(links)
			var denial *framing.Denial
			if errors.As(err, &denial) && denial.Code == framing.DeniedReplaced {
				d.stop(err) // at one relay is everywhere: two runs must not fight
			}
			errs <- err
		})
	}
	var last error
	for range d.ways {
		last = <-errs
	}
	d.stop(last)
}

// allListeners returns the listeners there are.
func (d *device) allListeners() []*Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.listeners))
}

// listener returns the listener of a name, or nil.
func (d *device) listener(name string) *Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listeners[name]
}

// addLink notes a link for drain. It reports false when the device has stopped.
func (d *device) addLink(link *framing.Link, w framing.Welcome) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	d.links[link] = struct{}{}
	d.arriving.Add(1) // until acceptStreams ends
	d.port = int(w.PublicPort)
	return true
}

// allLinks returns the links there are, those too that only have visitors left.
func (d *device) allLinks() []*framing.Link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.links))
}

// acceptStreams takes the streams of a link until it is lost, or no more will
// come, and gives each to the listener of its name.
func (d *device) acceptStreams(link *framing.Link) {
	defer func() {
		d.arriving.Done()
		link.WaitIdle(d.cut) // lanes outlive the link
		d.mu.Lock()
		delete(d.links, link)
		d.mu.Unlock()
	}()
	for {
		stream, err := link.Accept()
		if err != nil {
			return
		}
		d.arriving.Add(1)
		d.wg.Go(func() { d.receive(stream) })
	}
}

// receive brings one visitor to Accept.
func (d *device) receive(stream *framing.Stream) {
	defer d.arriving.Done()
	leave := func() {}
	defer d.panics.Catch("letting a visitor in", func() { stream.Reset(); leave() })
	h := stream.Header()
	l := d.listener(h.Name)
	if l == nil || d.isFull(h) {
		stream.Refuse()
		return
	}
	if h.Kind == framing.KindTLS && !l.cfg.Raw { // how long one of these stays is not known
		var ok bool
		if leave, ok = d.networks.enter(h.Source.Addr()); !ok {
			if d.crowded.tellsReason("network", false) {
				d.log.Warn("too many visitors at once from one network: new ones from there are refused")
			}
			stream.Refuse()
			return
		}
	}
	l.receive(stream, leave)
}

// noteLoss keeps why there is no session, for Wait.
func (d *device) noteLoss(err error) {
	for _, l := range d.allListeners() {
		l.noteLoss(err)
	}
}

// publicPort is where visitors connect to the relays.
func (d *device) publicPort() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.port == 0 {
		return 443
	}
	return d.port
}

// setToken takes the place of Config.Token from the next claim on.
func (d *device) setToken(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token = token
}
