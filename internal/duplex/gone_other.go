//go:build !unix

package duplex

import "net"

// gone is needed only where an error is reported once; Windows repeats it.
func gone(net.Conn) bool { return false }
