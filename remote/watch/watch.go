package watch

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/probe"
)

const (
	// mean and longest say how long after a round the next one begins; see gap.
	mean, longest = time.Hour, 2 * time.Hour
	// settleFrom and settle bound the pause behind a reconnect, which is random. Two rounds
	// of which a reconnect has caused the second are at least apart from each other: a relay
	// can cause as many reconnects as it likes.
	settleFrom, settle, apart = 5 * time.Second, 60 * time.Second, 5 * time.Minute
	// lookupTimeout bounds DNS.
	lookupTimeout = 10 * time.Second
	// maxAddresses is how many addresses of a name are dialled; a round with more says so.
	maxAddresses = 16
	// maxProbes is how many probes run at once, of all names, and maxProbesBeside how many
	// beside these at ports beside those of the names.
	maxProbes, maxProbesBeside = 8, 4
	// maxBeside is how many ports beside its own a name is looked at. A probe there may take
	// glance in the first round, for whose result people wait, and lookBeside in the others:
	// mostly nobody is there, and an address that is silent would hold its place for long.
	maxBeside, glance, lookBeside = 16, 2 * time.Second, 8 * time.Second
	// httpsPort is where browsers go.
	httpsPort = 443
)

// ErrNear is the error of a Way for an address that it does not dial.
var ErrNear = errors.New("is an address of this device or of a network near it, where it has no relay: it is not dialled")

// Ends take note of the connections that end at the device.
type Ends interface {
	// Await waits until a connection with this exporter has ended at the device, or until
	// ctx ends. Random is that of its hello.
	Await(ctx context.Context, x probe.Exporter, random probe.Random) probe.End
	// Close takes note no more.
	Close()
}

// A Name is what the watch knows of one public name.
type Name struct {
	Domain string

	// Port is where visitors connect.
	Port func() int

	// Beside are other ports where visitors may come, such as those that a relay has said
	// before; nil is none. There, and at 443 always, another server may be, or none, which is
	// nothing to tell: only a certificate for the name that one of [Watch.Roots] has signed,
	// with a key that is not the device's, is an interception. What may be one is not checked.
	Beside func() []int

	// Key is the SHA-256 of the SubjectPublicKeyInfo that visitors are shown now; false
	// while there is no certificate.
	Key func() ([sha256.Size]byte, bool)

	// Ends begins to take note of connections that end at the device.
	Ends func() Ends

	// HTTP says that the device answers requests, and its statement among them.
	HTTP bool

	// Replica says that other runs of the same Identity may take connections, perhaps with
	// other keys.
	Replica  bool
	Identity func() ed25519.PublicKey

	// Told is called with each round, on the goroutine of Run; nil is nobody.
	Told func(*Round)
}

// A Resolver is a way to ask DNS.
type Resolver struct {
	Name   string // for people
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	// Services returns where HTTPS records (RFC 9460) of a name lead browsers that go to a
	// port of it, those that they prefer first; nil asks for none. Where DNS has none, or
	// does not answer, that is none. An error says that there are some of which not all can
	// be followed, and comes with the others.
	Services func(ctx context.Context, name string, port int) ([]Service, error)
}

// A Service is where an HTTPS record leads browsers: to a port of a host, whose addresses
// it may tell by itself.
type Service struct {
	Host  string
	Port  int
	Hints []netip.Addr
}

// A Way is a way to an address.
type Way struct {
	// Name is for people, as in "proxy.example:3128"; empty is the direct way.
	Name string

	// Dial connects to host:port. The host is an address, or with Names also a name. It
	// returns ErrNear for what it does not dial.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Names says that there the name is looked up too: it is dialled by name as well.
	Names bool
}

// A Watch looks at public names from outside. Its fields are set before the first call of
// Run, which several goroutines may then call.
type Watch struct {
	Resolvers []Resolver // one at least
	Ways      []Way      // one at least; the first is the direct one
	Alarms    *Alarms

	// Roots are those that browsers trust, for [Name.Beside]; nil means the system's.
	Roots *x509.CertPool

	// Peers are asked to look too; Sign signs the questions, and returns the document and
	// the hash that the answer has to name.
	Peers []Peer
	Sign  func(probe.Question) (doc, hash []byte)

	// Logger hears of each round that differs from the one before it; nil discards.
	Logger *slog.Logger

	once   sync.Once
	own    *places // of probes at the names' own ports, and of questions to peers
	beside *places // of the others
}

// Run looks at a name now, then at random times about once an hour, and after each value
// of again, which is sent where a link has come up anew. It returns when ctx ends.
func (w *Watch) Run(ctx context.Context, n *Name, again <-chan struct{}) {
	w.once.Do(func() { w.own, w.beside = newPlaces(maxProbes), newPlaces(maxProbesBeside) })
	var before string
	for first := true; ; first = false {
		round := w.round(ctx, n, first)
		if ctx.Err() != nil {
			return
		}
		w.tell(n, round, &before)
		if !pause(ctx, again) {
			return
		}
	}
}

// pause waits for the time of the next round. It reports false when ctx ends.
func pause(ctx context.Context, again <-chan struct{}) bool {
	last := time.Now()
	next := time.NewTimer(gap())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-next.C:
			return true
		case <-again:
			next.Reset(max(between(settleFrom, settle), time.Until(last.Add(apart))))
			again = nil
		}
	}
}

// gap returns how long it is until the next round. Whatever has passed already, the next
// minute is as likely as any other: whoever has seen a probe must not know for how long
// there is none.
func gap() time.Duration { return min(time.Duration(rand.ExpFloat64()*float64(mean)), longest) }

// between returns a random duration.
func between(from, to time.Duration) time.Duration { return from + rand.N(to-from) }

// round runs all probes of a name. Those of the first round begin at once, the others at
// random times within a minute: the direct ones last, since they come from an address that
// the relay knows, and give the round away.
func (w *Watch) round(ctx context.Context, n *Name, first bool) *Round {
	r := &Round{Name: n.Domain}
	port := n.Port()
	list, failed := w.lookUp(ctx, n, port, n.beside(port))
	led, lost := w.led(ctx, n, port, list, first)
	list, r.Results = append(list, led...), append(failed, lost...)
	var tasks []task
	for _, p := range list {
		one := task{name: n.Domain, places: w.own, last: p.way.Name == "", run: func() []Result { return []Result{p.run(ctx)} }}
		if p.beside {
			one.places, one.run = w.beside, func() []Result { return p.runBeside(ctx, first) }
		}
		tasks = append(tasks, one)
	}
	for i := range w.Peers {
		if peer := &w.Peers[i]; peer.Name != n.Domain {
			tasks = append(tasks, task{name: n.Domain, places: w.own, run: func() []Result { return w.askPeer(ctx, n, peer) }})
		}
	}
	r.Results = append(r.Results, w.do(ctx, tasks, first)...)
	r.Time = time.Now()
	return r
}

// A task is one part of a round.
type task struct {
	name   string
	places *places
	last   bool // it is for the second half of the time
	run    func() []Result
}

// do does all tasks of a round, and raises the alarm of each that finds somebody between as
// soon as it does.
func (w *Watch) do(ctx context.Context, tasks []task, first bool) []Result {
	results := make([][]Result, len(tasks))
	done := make(chan int)
	for i, task := range tasks {
		go func() {
			results[i] = doOne(ctx, task, first)
			done <- i
		}()
	}
	for range tasks {
		for i, all := 0, results[<-done]; i < len(all); i++ {
			w.raise(&all[i])
		}
	}
	return slices.Concat(results...)
}

// doOne does one of them, when it is its time and there is a place.
func doOne(ctx context.Context, task task, first bool) []Result {
	if !first {
		wait := rand.N(30 * time.Second)
		if task.last {
			wait += 30 * time.Second
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
	if !task.places.enter(ctx, task.name) {
		return nil
	}
	defer task.places.leave(task.name)
	return task.run()
}

// raise raises the alarm of a result, where it is one, and lets go of its certificates: the
// alarm keeps them as evidence, and a round would hold those of all its looks.
func (w *Watch) raise(r *Result) {
	if r.State == Intercepted && w.Alarms != nil {
		w.Alarms.Raise(Alarm{Name: r.Name, Seen: Path, Where: r.where(), Key: r.Key, Chain: r.chain, Time: r.Time, Text: r.where() + " " + r.Why})
	}
	r.chain = nil
}

// beside returns the ports beside its own at which the name is looked at.
func (n *Name) beside(own int) []int {
	all := []int{httpsPort}
	if n.Beside != nil {
		all = append(all, n.Beside()...)
	}
	return portsBeside(own, all)
}

// portsBeside returns what of a list are ports, each once, and not the name's own.
func portsBeside(own int, all []int) (ports []int) {
	for _, p := range all {
		if p > 0 && p <= math.MaxUint16 && p != own && !slices.Contains(ports, p) && len(ports) < maxBeside {
			ports = append(ports, p)
		}
	}
	return ports
}

// lookUp returns the probes of a round, those beside the name's own port last, and the
// results of those that cannot be run.
func (w *Watch) lookUp(ctx context.Context, n *Name, port int, beside []int) (list []*probing, failed []Result) {
	var addresses []netip.Addr
	for _, resolver := range w.Resolvers {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		found, err := resolver.Lookup(ctx, n.Domain)
		cancel()
		if err == nil && len(found) == 0 {
			err = errors.New("no address")
		}
		if err != nil {
			failed = append(failed, Result{Name: n.Domain, State: NotRun, Step: AtLookup, Time: time.Now(),
				Why: "is not found in DNS, as " + resolver.Name + " says: " + notFound(err), Hints: hint.NotLookedUp.With("NAME", n.Domain)})
		}
		for _, ip := range found {
			if a := ip.Unmap(); !slices.Contains(addresses, a) {
				addresses = append(addresses, a)
			}
		}
	}
	if more := len(addresses) - maxAddresses; more > 0 {
		rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
		addresses = addresses[:maxAddresses]
		failed = append(failed, Result{Name: n.Domain, State: NotRun, Step: AtDial, Time: time.Now(),
			Why: fmt.Sprintf("has %d addresses more than are dialled in one round", more)})
	}
	for i, port := range append([]int{port}, beside...) {
		for j := range w.Ways {
			way := &w.Ways[j]
			for _, ip := range addresses {
				a := netip.AddrPortFrom(ip, uint16(port))
				list = append(list, &probing{name: n, way: way, address: a.String(), ip: a, beside: i > 0, roots: w.Roots})
			}
			if way.Names {
				list = append(list, &probing{name: n, way: way, address: net.JoinHostPort(n.Domain, strconv.Itoa(port)), beside: i > 0, roots: w.Roots})
			}
		}
	}
	return list, failed
}

// notFound is why DNS gives no address, without the name and the server that package net
// takes it for.
func notFound(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return plain.Text(dns.Err)
	}
	return plain.Text(err.Error())
}

// tell tells of a round, and logs it where it differs from before.
func (w *Watch) tell(n *Name, r *Round, before *string) {
	if n.Told != nil {
		n.Told(r)
	}
	log := w.Logger
	if log == nil {
		return
	}
	text := r.Text()
	level := slog.LevelInfo
	switch {
	case text == *before:
		level = slog.LevelDebug
	case r.State() != Own:
		level = slog.LevelWarn
	}
	*before = text
	log.Log(context.Background(), level, "looked at the name from outside", "name", r.Name, "found", text, hint.Attr(r.hints()))
}
