package framing

import (
	"fmt"
	"io"
)

// readLoop reads control records until smux takes over as the reader.
func (l *Link) readLoop() {
	for {
		t, n, err := l.next()
		switch {
		case err != nil:
			l.fail(err)
			return
		case n > 0:
			l.handover <- n
			return
		case t != recPing && t != recPong:
			// Its handler may have made this stack grow, and an idle link is
			// to have a small one.
			go l.readLoop()
			return
		}
	}
}

// nextMux handles records up to the header of the next MUX record, whose
// length it returns.
func (l *Link) nextMux() (int, error) {
	for {
		if _, n, err := l.next(); n > 0 || err != nil {
			return n, err
		}
	}
}

// next reads and handles one record. Of a MUX record that is not empty it reads
// the header alone, and returns its length n; else n is 0.
func (l *Link) next() (t recordType, n int, err error) {
	select {
	case <-l.done: // it has failed, and may still be telling the other side why
		return 0, 0, l.Err()
	default:
	}
	if _, err := io.ReadFull(l.conn, l.hdr[:]); err != nil {
		if err == io.EOF {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("read from the link: %w", err)
	}
	l.heard()
	t, size := parseRecordHeader(l.hdr[:])
	if t == recMux {
		if !l.muxed() {
			return t, 0, protocolErrorf("MUX before START_MUX")
		}
		if size > 0 {
			return t, size, nil
		}
	}
	if err := l.control.take(t, l.now()); err != nil || t == recMux {
		return t, 0, err
	}
	if size > maxPayload(t) {
		return t, 0, protocolErrorf("record 0x%02x of %d bytes", t, size)
	}
	p := make([]byte, size)
	if _, err := io.ReadFull(l.conn, p); err != nil {
		return t, 0, fmt.Errorf("read from the link: %w", noEOF(err))
	}
	return t, 0, l.handle(t, p)
}
