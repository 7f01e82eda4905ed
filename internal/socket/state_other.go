//go:build !linux

package socket

import (
	"math"
	"net"
	"time"
)

// Failure is not known here; a reset is seen by the next Read or Write.
func Failure(net.Conn) error { return nil }

// Quiet is not known here.
func Quiet(net.Conn) (time.Duration, bool) { return 0, false }

// Ended is not known here: an end is seen by the Read that comes to it.
func Ended(net.Conn) bool { return false }

// Unread is not known here.
func Unread(uintptr) int { return math.MaxInt }
