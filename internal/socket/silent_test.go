package socket_test

import (
	"net"
	"testing"
	"time"

	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// What has arrived is seen without waiting for more: bytes, an end and a reset.
func TestSilentIsWhereNothingHasArrived(t *testing.T) {
	for name, say := range map[string]func(*net.TCPConn){
		"a byte":  func(c *net.TCPConn) { c.Write([]byte{1}) },
		"an end":  func(c *net.TCPConn) { c.CloseWrite() },
		"a reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		near, far := testnet.TCPPair(t)
		if !socket.Silent(wrapped{Conn: near}) {
			t.Errorf("%s: there before", name)
		}
		say(far)
		for end := time.Now().Add(time.Minute); socket.Silent(near); {
			if time.Now().After(end) {
				t.Fatalf("%s: not seen", name)
			}
		}
	}
}
