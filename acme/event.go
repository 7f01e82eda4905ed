package acme

import "time"

// An EventKind says what happened to a name.
type EventKind int

const (
	// Loaded: a valid certificate was found in the folder.
	Loaded EventKind = iota + 1
	// Waiting: a certificate is needed, and Config.Ready has been asked.
	Waiting
	// Ordering: an order at the CA begins.
	Ordering
	// Obtained: the order succeeded and the certificate is in use.
	Obtained
	// Failed: the attempt failed, and Next says when the next one is due.
	Failed
	// Held: Config.Hold lets no new certificate be ordered before Next.
	Held
)

// String returns the kind as one lower-case word.
func (k EventKind) String() string {
	switch k {
	case Loaded:
		return "loaded"
	case Waiting:
		return "waiting"
	case Ordering:
		return "ordering"
	case Obtained:
		return "obtained"
	case Failed:
		return "failed"
	case Held:
		return "held"
	}
	return "unknown"
}

// An Event tells Config.Notify what happened to one name.
type Event struct {
	Kind EventKind
	Name string

	// Why a certificate is wanted, for people: with Waiting, Ordering, Failed and
	// Held.
	Why string

	// NotAfter is when the certificate now in use expires. It is zero where
	// there is none.
	NotAfter time.Time

	// Err is what went wrong: with Failed, and with Held a *HeldError. See also
	// Problem and RehearsalError.
	Err error

	// Next is when the next attempt is due: with Failed and Held.
	Next time.Time
}
