//go:build !unix

package socket

import (
	"errors"
	"net"
	"os"
	"time"
)

// Silent reports whether nothing unread has arrived at c: no byte, no end and no reset.
// It waits for a millisecond. It takes one byte of what there is: where it returns
// false, c can only be closed.
func Silent(c net.Conn) bool {
	var b [1]byte
	inner := Innermost(c)
	if inner.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return false
	}
	_, err := inner.Read(b[:])
	return errors.Is(err, os.ErrDeadlineExceeded) && inner.SetReadDeadline(time.Time{}) == nil
}
