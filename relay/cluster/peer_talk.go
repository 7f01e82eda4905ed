package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// quiet is for how long the node was not heard.
func (p *peer) quiet() time.Duration { return time.Since(p.since) - time.Duration(p.heard.Load()) }

// read reads records until the connection is over, and returns why.
func (p *peer) read() error {
	r := bufio.NewReaderSize(p.conn, 32<<10)
	buf := make([]byte, maxRecord)
	for {
		p.conn.SetReadDeadline(time.Now().Add(silenceLimit))
		k, body, err := readRecord(r, buf)
		if err != nil {
			return silence(err, errSilent)
		}
		p.heard.Store(int64(time.Since(p.since)))
		if err := p.handle(k, body); err != nil {
			return err
		}
	}
}

// silence makes an expired deadline say what it means.
func silence(err, means error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return means
	}
	return err
}

// handle takes up one record.
func (p *peer) handle(k kind, body []byte) error {
	if k != kindUp && k != kindDown && !p.silent.take(1) {
		return errFlood
	}
	switch k {
	case kindUp:
		return p.hearUp(body)
	case kindDown:
		return p.hearDown(body)
	case kindCurrent:
		p.hearCurrent()
		return nil
	case kindPing:
		g, err := parsePing(body)
		if err == nil {
			p.hearLoad(g.load)
			err = p.send(pong(g.sent))
		}
		return err
	case kindPong:
		sent, err := parsePong(body)
		if d := time.Since(p.since) - time.Duration(sent); err == nil && d > 0 && d < silenceLimit {
			p.rtt.Store(int64(d))
		}
		return err
	case kindCut:
		return p.hearCut(body)
	case kindOrder:
		return p.hearOrder(body)
	case kindAnswer:
		return p.c.turns.hearAnswer(body)
	case kindTurn:
		return p.hearTurn(body)
	}
	if k >= skippable {
		return nil
	}
	return violation(fmt.Sprintf("a record of type %d", k))
}

// send queues a record.
func (p *peer) send(r []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= maxQueued {
		return errSlow
	}
	p.queue = append(p.queue, r)
	p.wakeLocked()
	return nil
}

// mark notes that a name has changed.
func (p *peer) mark(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty[name] = struct{}{}
	p.wakeLocked()
}

func (p *peer) wakeLocked() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// tellTurns writes the turns for names, most of them at the most, and returns the other
// names: a node that gets too many records at once takes them for a flood.
func (p *peer) tellTurns(names []string, most int) (rest []string, err error) {
	n := min(len(names), most)
	for _, name := range names[:n] {
		if t, ok := p.c.turns.of(name); ok {
			if err := p.put(turnRecord(name, t.run, time.Until(t.until))); err != nil {
				return nil, err
			}
		}
	}
	return names[n:], nil
}

// write tells the node all that is connected here, and then what changes, until the
// connection is over. It returns why.
func (p *peer) write() error {
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.tell(p.c.Local.PresentNames(), true); err != nil {
		return err
	}
	turns, err := p.tellTurns(p.c.turns.names(), turnsFirst)
	if err != nil {
		return err
	}
	if err := p.put(record(kindCurrent, func(*cryptobyte.Builder) {})); err != nil {
		return err
	}
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		if err := p.flush(); err != nil {
			return err
		}
		select {
		case <-p.more:
		case <-tick.C:
			if err := p.put(p.ping()); err != nil {
				return err
			}
			if turns, err = p.tellTurns(turns, turnsStep); err != nil {
				return err
			}
		case <-p.done:
			return nil
		}
	}
}

func (p *peer) ping() []byte {
	g := ping{sent: uint64(time.Since(p.since))}
	if p.c.Load != nil {
		g.load = p.c.Load()
	}
	return g.record()
}

// flush writes what waits.
func (p *peer) flush() error {
	p.mu.Lock()
	var dirty map[string]struct{} // a map of its own, which nobody else changes
	queue := p.queue
	p.queue = nil
	if len(p.dirty) > 0 {
		dirty, p.dirty = p.dirty, make(map[string]struct{})
	}
	p.mu.Unlock()
	for _, r := range queue {
		if err := p.put(r); err != nil {
			return err
		}
	}
	if len(dirty) == 0 {
		return nil
	}
	names := make([]string, 0, len(dirty))
	for name := range dirty {
		names = append(names, name)
	}
	return p.tell(names, false)
}

// put writes one record.
func (p *peer) put(r []byte) error {
	p.conn.SetWriteDeadline(time.Now().Add(silenceLimit))
	_, err := p.conn.Write(r)
	if err != nil {
		return silence(err, errSlow)
	}
	return nil
}

// tell writes what is connected here for names now, and with snapshot nothing of those
// for which nothing is.
func (p *peer) tell(names []string, snapshot bool) error {
	for len(names) > 0 {
		var up, down []byte
		ups, downs := cryptobyte.NewBuilder(nil), cryptobyte.NewBuilder(nil)
		n, size := 0, 0
		for ; n < len(names) && size < chunk; n++ {
			at, ok := p.c.Local.Present(names[n])
			switch {
			case ok:
				addUp(ups, &at)
				size += len(at.Name) + keySize + 3 + 24*len(at.Runs)
			case !snapshot:
				addText8(downs, names[n])
				size += len(names[n]) + 1
			}
		}
		p.c.stats.add(&p.c.stats.said, n)
		names = names[n:]
		up, down = ups.BytesOrPanic(), downs.BytesOrPanic()
		if len(down) > 0 {
			if err := p.put(record(kindDown, func(b *cryptobyte.Builder) { b.AddBytes(down) })); err != nil {
				return err
			}
		}
		if len(up) > 0 {
			if err := p.put(record(kindUp, func(b *cryptobyte.Builder) { b.AddBytes(up) })); err != nil {
				return err
			}
		}
	}
	return nil
}

// A meter lets so many things a second through, and burst at once.
type meter struct {
	rate, burst float64
	left        float64
	last        time.Time
}

// has returns how many may pass now.
func (m *meter) has() float64 {
	now := time.Now()
	if m.last.IsZero() {
		m.left = m.burst
	} else {
		m.left = min(m.burst, m.left+m.rate*now.Sub(m.last).Seconds())
	}
	m.last = now
	return m.left
}

func (m *meter) take(n int) bool {
	m.left = m.has() - float64(n)
	return m.left >= 0
}
