package remote

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"

	"keystay/internal/probe"
)

// maxEnds is how many connections one Ends knows.
const maxEnds = 4096

// ends are those of a listener that take note now. While there is none, a handshake costs
// a look at a number more.
type ends struct {
	some atomic.Int32
	mu   sync.Mutex
	all  map[*Ends]struct{}
}

// An Ends takes note of the visitors' connections that end at a listener, by their TLS
// exporters. Make one with [Listener.NoteEnds].
type Ends struct {
	of *ends

	mu     sync.Mutex
	seen   map[probe.Exporter]struct{}
	open   map[*opening]struct{}     // of handshakes that are not over
	failed map[probe.Random]struct{} // hellos of handshakes that have failed
	blind  bool                      // there were more than are known
	change chan struct{}             // closed at the next change
}

// NoteEnds begins to take note of each visitor's connection whose handshake begins from
// now on. The caller calls Close.
func (l *Listener) NoteEnds() *Ends {
	e := &Ends{of: &l.ends, seen: make(map[probe.Exporter]struct{}), open: make(map[*opening]struct{}),
		failed: make(map[probe.Random]struct{}), change: make(chan struct{})}
	l.ends.mu.Lock()
	defer l.ends.mu.Unlock()
	if l.ends.all == nil {
		l.ends.all = make(map[*Ends]struct{})
	}
	l.ends.all[e] = struct{}{}
	l.ends.some.Add(1)
	return e
}

// Close takes note no more. It may be called again.
func (e *Ends) Close() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	if _, notes := e.of.all[e]; notes {
		delete(e.of.all, e)
		e.of.some.Add(-1)
	}
}

// Await waits until a connection with this exporter has ended here, or until ctx ends. It
// returns [probe.Unsure] where the hello with that random has come here, and its handshake
// has failed or is not over: the relay can break a connection off between the two ends'
// last words. Unsure is also the answer where there were more connections than are known.
func (e *Ends) Await(ctx context.Context, x probe.Exporter, random probe.Random) probe.End {
	for {
		e.mu.Lock()
		_, here := e.seen[x]
		change := e.change
		e.mu.Unlock()
		switch {
		case here:
			return probe.Here
		case ctx.Err() != nil && e.mayBe(random):
			return probe.Unsure
		case ctx.Err() != nil:
			return probe.Elsewhere
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
}

// mayBe reports whether a handshake that has failed, or is not over, may have begun with
// that hello.
func (e *Ends) mayBe(random probe.Random) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, failed := e.failed[random]; failed || e.blind {
		return true
	}
	for o := range e.open {
		if got, whole := o.random(); !whole || got == random {
			return true
		}
	}
	return false
}

// begin is called when a handshake begins. The function that it returns is called when
// that is over, with the connection, or with nil where it failed.
func (n *ends) begin(stream *tlsInput) (over func(*tls.Conn)) {
	if n.some.Load() == 0 {
		return func(*tls.Conn) {}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	o := new(opening)
	stream.opening.Store(o)
	var noting []*Ends
	for e := range n.all {
		noting = append(noting, e)
		e.mu.Lock()
		e.open[o] = struct{}{}
		e.mu.Unlock()
	}
	return func(c *tls.Conn) {
		stream.opening.Store(nil)
		var x probe.Exporter
		known := false
		if c != nil {
			state := c.ConnectionState()
			var err error
			x, err = probe.ExporterOf(&state)
			known = err == nil
		}
		for _, e := range noting {
			e.note(o, x, known)
		}
	}
}

// note notes that a handshake is over.
func (e *Ends) note(o *opening, x probe.Exporter, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, o)
	random, whole := o.random()
	switch {
	case len(e.seen)+len(e.failed) >= maxEnds:
		e.blind = true
	case known:
		e.seen[x] = struct{}{}
	case whole: // what is no whole hello is not the one of a probe that has got an answer
		e.failed[random] = struct{}{}
	}
	close(e.change)
	e.change = make(chan struct{})
}

// randomAt is where the random of a ClientHello begins, behind the headers of its record
// and of the message, and its version.
const randomAt = 5 + 4 + 2

// An opening is the first bytes of a visitor's connection, as far as its hello's random.
type opening struct {
	mu  sync.Mutex
	got []byte
}

// took notes bytes that have come.
func (o *opening) took(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if left := randomAt + len(probe.Random{}) - len(o.got); left > 0 {
		o.got = append(o.got, p[:min(left, len(p))]...)
	}
}

// random returns the random of the hello, and whether it has come.
func (o *opening) random() (r probe.Random, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.got) < randomAt+len(r) {
		return r, false
	}
	copy(r[:], o.got[randomAt:])
	return r, true
}
