package relay

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"keystay/internal/socket"
	"keystay/relay/names"
)

const (
	// portLinger is how long the server goes on listening on a TCP port whose remote is
	// away: its visitors wait for it, as those of a name do.
	portLinger = time.Minute
	// portLook is how often it looks whether the remotes of its ports are there.
	portLook = time.Second
	// portUnfit is how long a port is not given out that could not be listened on:
	// another program of this machine has it.
	portUnfit = 10 * time.Minute
	// portsPart is which part of the descriptors the listeners of ports may take: one in
	// so many. The others are for remotes and visitors.
	portsPart = 4
)

// errManyPorts says that a port is not listened on for want of descriptors.
var errManyPorts = errors.New("the ports that are listened on take a quarter of the descriptors that the system lets this process have")

// ports are the TCP ports that the server listens on for remotes. It listens on one only
// while that is given out, and its remote is here or at another node, or was lately.
type ports struct {
	log      *slog.Logger
	domain   string // the relay's own name
	names    *names.Names
	listen   func(port uint16) ([]net.Listener, error) // nil where there are none
	accept   func(name string, ln net.Listener)        // until it fails
	visitors *portVisitors                             // that accept leads to
	track    func(net.Listener) (net.Listener, error)
	serves   func(name string) bool // a remote is connected for it, here or at another node
	known    func(name string) bool // it is given out
	paused   func() bool            // nothing is accepted for now
	most     int                    // listeners; 0 is no limit

	unlistened quota // of lines about ports that could not be listened on

	mu    sync.Mutex
	over  bool
	open  map[string]*openPort
	unfit map[string]time.Time // until when
}

// An openPort is a TCP port that is listened on.
type openPort struct {
	number    uint16
	given     []net.Listener // as they came, for another process
	listeners []net.Listener // the same, tracked
	used      time.Time      // when its remote was here last
	claims    int            // that are being decided about
}

// offered reports whether there are ports to give out.
func (p *ports) offered() bool { return p.listen != nil && p.names.Ports.Count() > 0 }

// isUnfit reports whether a port could not be listened on lately.
func (p *ports) isUnfit(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.unfit[name])
}

// begin listens on a port that is about to be claimed, if that is not done already. The
// caller calls done once the claim is decided.
func (p *ports) begin(name string, number uint16) (done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.open[name]
	if p.over {
		return nil, net.ErrClosed
	}
	if o == nil {
		if p.most > 0 && p.listenersLocked() >= p.most {
			return nil, errManyPorts
		}
		list, err := p.listen(number)
		if err == nil {
			o, err = p.addLocked(name, number, list)
		}
		if err != nil {
			if p.unfit == nil {
				p.unfit = make(map[string]time.Time)
			}
			p.unfit[name] = time.Now().Add(portUnfit)
			return nil, err
		}
	}
	delete(p.unfit, name)
	o.claims++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if o.claims--; p.serves(name) {
			o.used = time.Now()
		}
	}, nil
}

// addLocked takes the listeners of a port, which it closes where it fails.
func (p *ports) addLocked(name string, number uint16, list []net.Listener) (*openPort, error) {
	o := &openPort{number: number, given: list, used: time.Now()}
	for i, ln := range list {
		tracked, err := p.track(ln) // which closes it where it fails
		if err != nil {
			for _, rest := range list[i+1:] {
				rest.Close()
			}
			o.close()
			return nil, err
		}
		o.listeners = append(o.listeners, tracked)
	}
	if p.open == nil {
		p.open = make(map[string]*openPort)
	}
	p.open[name] = o
	for _, ln := range o.listeners {
		p.accept(name, ln)
	}
	return o, nil
}

// listenersLocked is how many listeners there are.
func (p *ports) listenersLocked() (n int) {
	for _, o := range p.open {
		n += len(o.given)
	}
	return n
}

func (o *openPort) close() {
	for _, ln := range o.listeners {
		ln.Close()
	}
}

// look closes the ports whose remotes have been away for long, or that are nobody's.
func (p *ports) look() {
	nobodys := p.nobodys()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused() { // then another process may have them by now
		return
	}
	now := time.Now()
	for name, o := range p.open {
		switch {
		case p.serves(name):
			o.used = now
		case o.claims > 0:
		case now.Sub(o.used) >= portLinger || nobodys[name] == o:
			delete(p.open, name)
			o.close()
		}
	}
	for name, until := range p.unfit {
		if !now.Before(until) {
			delete(p.unfit, name)
		}
	}
}

// nobodys returns the ports that are listened on and not given out. It asks for that
// without mu: the record is read by one at a time, and whoever reads it to choose a port
// calls isUnfit.
func (p *ports) nobodys() map[string]*openPort {
	p.mu.Lock()
	list := maps.Clone(p.open)
	p.mu.Unlock()
	maps.DeleteFunc(list, func(name string, _ *openPort) bool { return p.serves(name) || p.known(name) })
	return list
}

// end opens no port any more.
func (p *ports) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// list returns the ports that are listened on.
func (p *ports) list() (all []PortListener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.open {
		for _, ln := range o.given {
			all = append(all, PortListener{o.number, ln})
		}
	}
	slices.SortFunc(all, func(a, b PortListener) int { return int(a.Port) - int(b.Port) })
	return all
}

// count is how many ports are listened on.
func (p *ports) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// at returns the name of the port that is listened on and that an address has, or "".
func (p *ports) at(a net.Addr) string {
	number := addrPort(a).Port()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, o := range p.open {
		if slices.ContainsFunc(o.given, func(ln net.Listener) bool { return addrPort(ln.Addr()).Port() == number }) {
			return name
		}
	}
	return ""
}

// A PortListener listens on one of the public TCP ports.
type PortListener struct {
	Port     uint16
	Listener net.Listener
}

// Ports returns what listens on the public TCP ports that remotes have. The listeners
// are the server's.
func (s *Server) Ports() []PortListener {
	s.init()
	return s.ports.list()
}

// AdoptPorts takes the listeners of public TCP ports that the old process had, and
// accepts on them at once. Those that are not given out any more it closes. It is called
// before Serve, and after Expect.
func (s *Server) AdoptPorts(list []PortListener) {
	s.init()
	s.ports.adopt(list)
}

// adopt is Server.AdoptPorts.
func (p *ports) adopt(list []PortListener) {
	byPort := make(map[uint16][]net.Listener)
	for _, l := range list {
		if p.offered() && p.names.Ports.Has(l.Port) {
			byPort[l.Port] = append(byPort[l.Port], l.Listener)
			continue
		}
		l.Listener.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, lns := range byPort {
		if _, err := p.addLocked(names.PortName(p.domain, number), number, lns); err != nil {
			p.log.Warn("cannot go on listening on a TCP port", "port", number, "err", err)
		}
	}
}

// upkeep closes those that are not used any more, until done is closed.
func (p *ports) upkeep(done <-chan struct{}) {
	tick := time.NewTicker(portLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.look()
		case <-done:
			return
		}
	}
}

// initPorts makes the ports ready, and looks after them.
func (s *Server) initPorts() {
	v := &portVisitors{sockets: s.sockets, shares: s.shares, door: s.door, opener: s.opener, transit: s.transit, refused: &s.stats.refused}
	s.ports = &ports{log: s.log, domain: s.Domain, names: s.Names, listen: s.ListenPort, most: socket.MaxDescriptors() / portsPart,
		track: s.sockets.trackPort, serves: s.router.serves, paused: s.sockets.isPaused, visitors: v}
	s.ports.known = func(name string) bool {
		known, _, err := s.Names.Look(name)
		return known || err != nil
	}
	s.ports.accept = func(name string, ln net.Listener) { s.wg.Go(func() { v.accept(name, ln) }) }
	if s.ports.offered() {
		s.wg.Go(func() { s.ports.upkeep(s.ctx.Done()) })
	}
}
