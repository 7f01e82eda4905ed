package remote

import (
	"sync"
	"time"
)

// An EventKind says what has happened to a name.
type EventKind int

const (
	// Connected: a relay leads the name here. It comes once for each relay, however
	// many links there are, and again after Disconnected.
	Connected EventKind = iota + 1
	// Disconnected: a relay does not lead the name here any more. Err says why.
	Disconnected
	// Certificate: a certificate is in use, until NotAfter: it was found in the state
	// directory or has been obtained.
	Certificate
	// CertificateFailed: no certificate was obtained, which is tried again. Err says
	// why; NotAfter is that of the one in use, zero where there is none.
	CertificateFailed
	// Denied: a relay does not give the name for now, and is asked again. Err is why.
	Denied
	// Refused: a relay will not give the name. Err is why. If it was the last one,
	// Ended follows.
	Refused
	// Ended: the listener of the name has ended. Err is what its Accept returns then.
	Ended
)

// String returns the kind in lower-case words.
func (k EventKind) String() string {
	switch k {
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Certificate:
		return "certificate"
	case CertificateFailed:
		return "no certificate"
	case Denied:
		return "denied"
	case Refused:
		return "refused"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// An Event tells DeviceConfig.Events what has happened to one name.
type Event struct {
	Kind     EventKind
	Name     string
	Relay    string // with Connected, Disconnected, Denied and Refused
	Err      error
	NotAfter time.Time // of a certificate
}

// maxEvents is how many events may wait for DeviceConfig.Events.
const maxEvents = 4096

// events are those that wait for DeviceConfig.Events.
type events struct {
	mu      sync.Mutex
	waiting []Event
	telling bool // a goroutine is at it
}

// tell tells DeviceConfig.Events, and waits for nothing.
func (d *Device) tell(e Event) {
	if d.cfg.Events == nil {
		return
	}
	q := &d.events
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == maxEvents {
		return
	}
	q.waiting = append(q.waiting, e)
	if !q.telling {
		q.telling = true
		d.wg.Go(d.tellWaiting)
	}
}

// tellWaiting tells what waits, until nothing does.
func (d *Device) tellWaiting() {
	q := &d.events
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.telling, q.waiting = false, nil
			q.mu.Unlock()
			return
		}
		e := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		d.cfg.Events(e)
	}
}
