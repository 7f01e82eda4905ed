//go:build !linux

package socket

import "net"

// SendWindow returns 0 and false: this system is not asked.
func SendWindow(net.Conn) (n int, lasts bool) { return 0, false }

// WindowsLast returns false for known: this system is not asked.
func WindowsLast() (last, known bool) { return false, false }
