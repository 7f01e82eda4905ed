package framing

import (
	"fmt"
	"io"
	"time"

	"keystay/internal/socket"
)

// A reader reads all that comes on a link, in one goroutine at a time.
type reader struct {
	link    *Link
	header  [recordHeader]byte // of the record that is read
	control meter              // of link records but MUX and those that asks counts
	asks    meter              // of CLAIM, RELEASE and UNCLAIM; at the relay
	mux     demux
}

// loop reads and handles all that comes. A stack that has grown is never
// made as small again, and an idle link is to have a small one. So a new goroutine
// goes on after a record whose handler needs much stack, and at a PING after frames.
func (r *reader) loop() {
	defer r.link.handler.Panics.Catch("reading a link", r.link.panicked)
	for deep := false; ; {
		t, n, err := r.next()
		if n > 0 && err == nil {
			deep = true
			err = r.mux.receive(n)
		}
		ping := t == recPing || t == recPong
		switch {
		case err != nil:
			r.link.fail(err)
			return
		case t != recMux && (deep || !ping):
			go r.loop()
			return
		}
	}
}

// nextMux handles records up to the header of the next MUX record, whose
// length it returns.
func (r *reader) nextMux() (int, error) {
	for {
		if _, n, err := r.next(); n > 0 || err != nil {
			return n, err
		}
	}
}

// next reads and handles one record. Of a MUX record that is not empty it reads
// the header alone, and returns its length n; else n is 0.
func (r *reader) next() (t recordType, n int, err error) {
	if r.link.isOver() {
		return 0, 0, r.link.Err()
	}
	if _, err := io.ReadFull(r.link.conn, r.header[:]); err != nil {
		if err == io.EOF {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("read from the link: %w", err)
	}
	r.link.pulse.heard()
	t, size := parseRecordHeader(r.header[:])
	if t == recMux {
		if !r.link.streams.hasBegun() {
			return t, 0, protocolErrorf("MUX before START_MUX")
		}
		if size > 0 {
			return t, size, nil
		}
	}
	if err := r.count(t); err != nil || t == recMux {
		return t, 0, err
	}
	if size > maxPayload(t) {
		return t, 0, protocolErrorf("record 0x%02x of %d bytes", t, size)
	}
	p := make([]byte, size)
	if _, err := io.ReadFull(r.link.conn, p); err != nil {
		return t, 0, fmt.Errorf("read from the link: %w", socket.NoEOF(err))
	}
	return t, 0, r.handle(t, p)
}

// handle acts on one control record.
func (r *reader) handle(t recordType, p []byte) error {
	l := r.link
	switch atRelay := l.isRelay; {
	case t == recPing:
		return l.pulse.handlePing(p)
	case t == recPong:
		return l.pulse.handlePong(p)
	case t == recGoAway:
		return l.streams.handleGoAway(p)
	case t == recGoAwayAck:
		return l.streams.handleGoAwayAck()
	case (t == recClaim || t == recRelease || t == recUnclaim) && atRelay:
		return l.claims.handleAsked(t, p)
	case (t == recClaimed || t == recDenied || t == recReleased || t == recUnclaimed) && !atRelay:
		return l.asks.handleAnswer(t, p)
	case t == recLost && !atRelay:
		return l.asks.handleLost(p)
	case t == recOrder && atRelay:
		return l.turns.handleOrder(p)
	case t == recOrderTurn && !atRelay:
		return l.turns.handleTurn(p)
	case t == recNodes && !atRelay && l.peerMinor >= nodesMinor:
		return l.handleNodes(p)
	case t == recStartMux && !atRelay:
		return l.streams.handleStartMux(p)
	case t == recLanesWanted && atRelay && l.lanes.agreed:
		return l.lanes.handleWanted(p)
	case t == recLaneTokens && !atRelay && l.lanes.agreed:
		return l.lanes.handleTokens(p)
	case t == recLaneReset && !atRelay && l.lanes.agreed:
		return l.lanes.handleReset(p)
	case t >= optional:
		return nil
	}
	return protocolErrorf("unexpected record 0x%02x", t)
}

// count ends a flood of control records, see section 4 of PROTOCOL.md.
func (r *reader) count(t recordType) error {
	switch t {
	case recClaim, recRelease, recUnclaim:
		return notFlood(t, r.asks.take(1, askBurst, askRate, r.link.now()))
	}
	return r.charge(t, cost(t))
}

// charge takes points for a control record, and ends the flood that has used them up.
func (r *reader) charge(t recordType, points float64) error {
	return notFlood(t, r.control.take(points, controlBurst, controlRate, r.link.now()))
}

func notFlood(t recordType, ok bool) error {
	if !ok {
		return protocolErrorf("a flood of control records, the last one 0x%02x", t)
	}
	return nil
}

const (
	// controlBurst is how many points there are for link records other than MUX, and
	// than those that name a name.
	controlBurst = 400
	// controlRate is how many of them grow back in a second.
	controlRate = 20
	// askBurst is how many of CLAIM, RELEASE and UNCLAIM a relay takes at once, and
	// askRate how many more in each second.
	askBurst = 2 * MaxNames
	askRate  = 8
)

// cost is how many points a link record takes.
func cost(t recordType) float64 {
	switch t {
	case recGoAway:
		return 20
	case recNodes:
		return 5
	case recLaneReset, recLost: // counted by lanes.handleReset and by asks.handleLost
		return 0
	case recClaimed, recDenied, recReleased, recUnclaimed: // one that was not asked for ends the link
		return 0
	}
	return 1
}

// A meter counts points that grow back. The zero value is full.
type meter struct {
	used float64
	at   time.Duration
}

// take takes n points of a meter that holds burst of them, and gets rate of them back
// in a second. It reports false when there are not so many.
func (m *meter) take(n, burst, rate float64, now time.Duration) bool {
	m.used = max(0, m.used-rate*(now-m.at).Seconds()) + n
	m.at = now
	return m.used <= burst
}

// until returns how long it takes until there are n points, and takes them for then.
func (m *meter) until(n, burst, rate float64, now time.Duration) time.Duration {
	m.take(n, burst, rate, now)
	return max(0, time.Duration((m.used-burst)/rate*float64(time.Second)))
}
