//go:build !linux

package socket

import "net"

// SendWindow knows nothing here.
func SendWindow(net.Conn) (n int, lasts bool) { return 0, false }

// WindowsLast does not know here.
func WindowsLast() (last, known bool) { return false, false }
