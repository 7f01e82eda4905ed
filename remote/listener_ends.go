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
	open   int           // handshakes that are not over
	lost   bool          // the exporter of one is not known
	change chan struct{} // closed at the next change
}

// NoteEnds begins to take note of each visitor's connection whose handshake begins from
// now on. The caller calls Close.
func (l *Listener) NoteEnds() *Ends {
	e := &Ends{of: &l.ends, seen: make(map[probe.Exporter]struct{}), change: make(chan struct{})}
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
// returns [probe.Unsure] where a handshake has failed since NoteEnds, or is not over: the
// relay can break the connection off between the two ends' last words.
func (e *Ends) Await(ctx context.Context, x probe.Exporter) probe.End {
	for {
		e.mu.Lock()
		_, here := e.seen[x]
		sure, change := e.open == 0 && !e.lost, e.change
		e.mu.Unlock()
		switch {
		case here:
			return probe.Here
		case ctx.Err() != nil && sure:
			return probe.Elsewhere
		case ctx.Err() != nil:
			return probe.Unsure
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
}

// begin is called when a handshake begins. What it returns is called when that is over,
// with the connection, or with nil where it failed.
func (n *ends) begin() (over func(*tls.Conn)) {
	if n.some.Load() == 0 {
		return func(*tls.Conn) {}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var noting []*Ends
	for e := range n.all {
		noting = append(noting, e)
		e.mu.Lock()
		e.open++
		e.mu.Unlock()
	}
	return func(c *tls.Conn) {
		var x probe.Exporter
		known := false
		if c != nil {
			state := c.ConnectionState()
			var err error
			x, err = probe.ExporterOf(&state)
			known = err == nil
		}
		for _, e := range noting {
			e.note(x, known)
		}
	}
}

// note notes that a handshake is over.
func (e *Ends) note(x probe.Exporter, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
	if known && len(e.seen) < maxEnds {
		e.seen[x] = struct{}{}
	} else {
		e.lost = true
	}
	close(e.change)
	e.change = make(chan struct{})
}
