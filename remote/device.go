package remote

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/hint"
	"keystay/internal/panics"
)

// How a remote stays connected.
//
// A device has a way to each relay that one of its names wants, and a way keeps some links to its
// relay, two unless the owner says otherwise. Each link has a linker, which goes
// round: wait for its turn, dial, claim the names, serve, wait a while.
//
//	link_line.go       whose turn it is: while no link is up, one is dialled alone
//	link_connect.go    which relay: the one that gave the name, or a climb to it
//	link_dial.go       which address, and TCP to it, perhaps through a proxy
//	link_transport.go  TLS or a WebSocket: what to try, and what has worked
//	node_list.go       which nodes the relay has, node_known.go: how they fare; node_dial.go: which of them may be dialled
//	node_move.go       when a link moves from one to another, and how their round trips are measured
//	link_greet.go      the TLS handshake, the proof of identity, HELLO
//	link_session.go    a session: which names the link has, and what ends it
//	link_claims.go     the claims, many at once
//	link_remember.go   how the next start knows which relay has given a name
//	link_left.go       what becomes of a link whose relay goes away
//	link_linker.go     what then: give up, dial again at once, or wait
//	link_retry.go      how long that wait is
//	link_log.go        what the log says of all this; link_again.go: of each name; link_outage.go, allowance.go: how often
//
// A link ends when it is lost, when its relay goes away, or when the relay takes
// the name back. While a relay goes away, the next link is dialled beside the old
// one, which lives on for the visitors that it has. A relay that refuses the
// device ends its way; one that refuses a name for good ends it for that name alone, and
// the last relay of a name ends its listener. A way ends with its last name, in good
// order. device_names.go says which name wants which way.
// When the device has slept or is on another network, device_wake.go asks every
// link for a sign of life and cuts every wait short. Close tells the relays, and
// device_drain.go waits for the visitors.

// A Device is a run of one identity: its state directory, the ways to its relays
// with their links, and the listeners whose names it claims on them. Make one with
// [Open]. Its methods may be called from several goroutines.
type Device struct {
	cfg        DeviceConfig
	log        *slog.Logger
	panics     *panics.Log
	state      *state
	transports transports
	alarm      alarm     // after sleep, or on another network
	loss       pathLoss  // to the relays
	warmings   warmings  // of links
	haste      int       // of moves between nodes, in tests; 0 is none
	most       int       // visitors at once
	pool       int       // of each link, in bytes
	networks   *networks // that they come from
	crowded    outage    // visitors of a network that has too many, for ever
	full       outage    // while there are more
	unwanted   outage    // of relays that pass on whom the rules refuse; it never ends
	unheard    outage    // while it cannot be kept that relays have heard of a new key
	orders     orders    // of certificates
	home       *home     // visitors who have come without a relay
	events     events

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
	ways      []*way               // each has a name that wants it
	listeners map[string]*Listener // by name
	links     map[*framing.Link]linked
	stopped   bool
	token     string // see SetToken
}

// Open begins a run of the device that a state directory holds, which is made if need
// be. Nothing is dialled before the first Listen. The caller calls Shutdown, or Close.
func Open(cfg DeviceConfig) (*Device, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	d, err := openDevice(cfg)
	if err != nil {
		return nil, err
	}
	d.wg.Go(d.watch)
	return d, nil
}

// openDevice begins a run, which writes to the state directory.
func openDevice(cfg DeviceConfig) (*Device, error) {
	d := newDevice(cfg)
	var err error
	if d.state, err = openState(cfg.StateDir); err != nil {
		return nil, err
	}
	d.tellStrays()
	d.begin()
	return d, nil
}

// newDevice returns a device that has no state yet.
func newDevice(cfg DeviceConfig) *Device {
	d := &Device{cfg: cfg, log: cfg.Logger, token: cfg.Token,
		listeners: make(map[string]*Listener), links: make(map[*framing.Link]linked)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.panics = &panics.Log{Logger: d.log}
	available, _ := budget.Available()
	d.most, d.pool = maxVisitors(cfg.MaxVisitors, available), linkPool(available)
	d.networks, d.home = newNetworks(d.most), newHome(d.most)
	d.orders.d = d
	return d
}

// begin makes a device with its state ready to link.
func (d *Device) begin() {
	d.transports.init(d.cfg.Transport, d.state)
	d.transports.later = d.later
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	d.cut, d.cutAll = context.WithCancel(context.Background())
	d.late, d.endLate = context.WithCancel(d.cut)
}

// later is that of transports.
func (d *Device) later(wait time.Duration, do func() error) {
	d.wg.Go(func() {
		select {
		case <-time.After(wait):
		case <-d.ctx.Done():
		}
		d.tellUnsaved(do())
	})
}

// tellStrays logs what the owner should know of the state directory.
func (d *Device) tellStrays() {
	for _, err := range d.state.strays {
		d.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	d.state.strays = nil
}

// allListeners returns the listeners there are.
func (d *Device) allListeners() []*Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.listeners))
}

// listener returns the listener of a name, or nil.
func (d *Device) listener(name string) *Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listeners[name]
}

// addLink notes a link for drain. It reports false when the device has stopped.
func (d *Device) addLink(w *way, r *reached) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	d.links[r.link] = linked{r.relay, r.berth, time.Now()}
	d.cfg.Figures.linked()
	d.arriving.Add(1) // until acceptStreams ends
	w.port = int(r.welcome.PublicPort)
	return true
}

// allLinks returns the links there are, those too that only have visitors left.
func (d *Device) allLinks() []*framing.Link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.links))
}

// acceptStreams takes the streams of a link until it is lost, or no more will
// come, and gives each to the listener of its name.
func (d *Device) acceptStreams(link *framing.Link, relay string) {
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
		d.wg.Go(func() { d.receive(stream, relay) })
	}
}

// receive brings one visitor to Accept whom a relay has sent.
func (d *Device) receive(stream *framing.Stream, relay string) {
	defer d.arriving.Done()
	leave := func() {}
	defer d.panics.Catch("letting a visitor in", func() { stream.Reset(); leave() })
	h := stream.Header()
	l := d.listener(h.Name)
	if l == nil || !l.isThrough(relay) || d.isFull(h) {
		stream.Refuse()
		return
	}
	stream.SetTag(l)
	d.cfg.Figures.visited()
	if h.Kind == framing.KindTLS && !l.cfg.Raw { // how long one of these stays is not known
		var ok bool
		if leave, ok = d.networks.enter(h.Source.Addr()); !ok {
			tellCrowded(d)
			stream.Refuse()
			return
		}
	}
	l.receive(stream, relay, leave)
}

// SetToken takes the place of DeviceConfig.Token from the next claim on.
func (d *Device) SetToken(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token = token
}
