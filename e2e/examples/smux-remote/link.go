package main

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// Link records, section 1 of PROTOCOL.md.
const (
	hello, welcome    = 0x01, 0x02
	claim, claimed    = 0x04, 0x05
	ping, pong        = 0x10, 0x11
	goAway, goAwayAck = 0x12, 0x13
	mux               = 0x21
)

// A link is what smux runs on: the payloads of MUX records. Its Read answers the
// other records that it meets.
type link struct {
	tls          *tls.Conn
	write        sync.Mutex
	left         int           // of the MUX record that is being read
	acknowledged chan struct{} // closed by GOAWAY_ACK: no more visitors come
}

func (l *link) send(t byte, payload []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	l.tls.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := l.tls.Write(append([]byte{t, byte(len(payload) >> 8), byte(len(payload))}, payload...))
	return err
}

// record reads a record; of MUX the header alone.
func (l *link) record() (t byte, payload []byte, err error) {
	var h [3]byte
	l.tls.SetReadDeadline(time.Now().Add(18 * time.Second)) // PONG comes sooner, or the link is lost
	if _, err = io.ReadFull(l.tls, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(h[1:]))
	if h[0] == mux {
		l.left = n
		return mux, nil, nil
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(l.tls, payload)
	return h[0], payload, err
}

func (l *link) Read(b []byte) (int, error) {
	for l.left == 0 {
		t, payload, err := l.record()
		switch {
		case err != nil:
			return 0, err
		case t == ping:
			l.send(pong, payload)
		case t == goAway: // the link stays until the relay closes it
			l.send(goAwayAck, nil)
		case t == goAwayAck:
			close(l.acknowledged)
		}
	}
	n, err := l.tls.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}

// Write writes a frame of smux.
func (l *link) Write(b []byte) (int, error) { return len(b), l.send(mux, b) }

func (l *link) Close() error { return l.tls.Close() }

func (l *link) ping() {
	for l.send(ping, make([]byte, 8)) == nil {
		<-time.After(12 * time.Second)
	}
}
