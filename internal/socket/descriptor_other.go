//go:build !unix

package socket

import "net"

// Descriptor is -1: the system has no such numbers.
func Descriptor(net.Conn) int { return -1 }

// MaxDescriptors is 0: the system has no such limit.
func MaxDescriptors() int { return 0 }
