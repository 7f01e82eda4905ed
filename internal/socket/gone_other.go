//go:build !unix

package socket

import "net"

// Gone is needed only where an error is reported once; Windows repeats it.
func Gone(net.Conn) bool { return false }
