//go:build !linux

package duplex

import (
	"net"
	"time"
)

// socketError is not known here; a reset is seen by the next Read or Write.
func socketError(net.Conn) error { return nil }

// socketQuiet is not known here.
func socketQuiet(net.Conn) (time.Duration, bool) { return 0, false }

// socketEnded is not known here: an end is seen by the Read that comes to it.
func socketEnded(net.Conn) bool { return false }
