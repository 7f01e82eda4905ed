//go:build !unix

package socket

import (
	"errors"
	"net"
	"os"
	"time"
)

// Silent reports whether nothing has arrived at c that nobody has read: no byte, no end
// and no reset. It waits for a millisecond, and takes one byte of what there is, so that
// c is of no use where the answer is no.
func Silent(c net.Conn) bool {
	var b [1]byte
	inner := Innermost(c)
	if inner.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return false
	}
	_, err := inner.Read(b[:])
	return errors.Is(err, os.ErrDeadlineExceeded) && inner.SetReadDeadline(time.Time{}) == nil
}
