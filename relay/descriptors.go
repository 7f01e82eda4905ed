package relay

import (
	"log/slog"
	"net"
	"sync/atomic"

	"keystay/internal/hint"
	"keystay/internal/outage"
	"keystay/internal/socket"
)

const (
	// maxReserved and reservedPart are how many descriptors are kept free of the public
	// ports' connections: one part in so many, and no more than that. They are for the
	// operator's sockets, files of state_dir, a certificate's order and a takeover.
	maxReserved  = 64
	reservedPart = 8
)

// descriptors keeps the process from running out of descriptors. A new connection has
// the lowest that is free, so its number says how many are in use. Near the end visitors
// are refused, then whatever comes: links get in for longer, so that names do not stay
// away.
type descriptors struct {
	log    *slog.Logger
	shed   atomic.Int64 // connections that were let go
	scarce outage.Outage
}

// A room says what a new connection may be.
type room int

const (
	forAll   room = iota
	forLinks      // no visitor
	forNone
)

// roomFor says what c may be, by what is free now. Whoever refuses it for that calls
// refused.
func (d *descriptors) roomFor(c net.Conn) room {
	n, limit := socket.Descriptor(c), socket.MaxDescriptors()
	if n < 0 || limit == 0 {
		return forAll
	}
	reserve := min(maxReserved, limit/reservedPart)
	switch {
	case n >= limit-reserve:
		return forNone
	case n >= limit-2*reserve:
		return forLinks
	case n < limit-3*reserve:
		if lasted, all, told := d.scarce.Ends(); told {
			d.log.Info("there are descriptors again", "lasted", lasted, "let_go", all)
		}
	}
	return forAll
}

// refused counts that a connection was let go for want of descriptors. The log has it
// once.
func (d *descriptors) refused() {
	d.shed.Add(1)
	if tell, _ := d.scarce.Failed(1); tell {
		d.log.Error("descriptors are nearly used up: new connections are let go, whoever is connected stays",
			"limit", socket.MaxDescriptors(), hint.Attr(hint.DescriptorsUsedUp.Do))
	}
}
