package framing

import (
	"fmt"
	"io"
)

// readLoop reads and handles all that comes. A stack that has grown is never
// made as small again, and an idle link is to have a small one. So a new goroutine
// goes on after a record whose handler needs much stack, and at a PING after frames.
func (l *Link) readLoop() {
	defer l.handler.Panics.Catch("reading a link", l.panicked)
	for deep := false; ; {
		t, n, err := l.next()
		if n > 0 && err == nil {
			deep = true
			err = l.mux.receive(n)
		}
		ping := t == recPing || t == recPong
		switch {
		case err != nil:
			l.fail(err)
			return
		case t != recMux && (deep || !ping):
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
	if l.isOver() {
		return 0, 0, l.Err()
	}
	if _, err := io.ReadFull(l.conn, l.hdr[:]); err != nil {
		if err == io.EOF {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("read from the link: %w", err)
	}
	l.pulse.heard()
	t, size := parseRecordHeader(l.hdr[:])
	if t == recMux {
		if !l.hasMux() {
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
