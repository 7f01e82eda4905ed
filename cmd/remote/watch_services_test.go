package main

import (
	"context"
	"net"
	"testing"
)

// A DNS server that fails where it is asked for HTTPS records is one like many: browsers go
// on without. One whose answer cannot be read has some.
func TestOnlyAnAnswerThatCannotBeReadIsAnErrorOfHTTPSRecords(t *testing.T) {
	for what, c := range map[string]struct {
		head  []byte // of the answer, from the third byte on
		fails bool
	}{
		"a failure":                {[]byte{0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0}, false},
		"none":                     {[]byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, false},
		"a record that is missing": {[]byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, true},
	} {
		t.Run(what, func(t *testing.T) {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				packet := make([]byte, 1500)
				for {
					n, from, err := server.ReadFrom(packet)
					if err != nil {
						return
					}
					copy(packet[2:], c.head)
					if n -= 11; n > 0 { // the OPT record
						_, _ = server.WriteTo(packet[:n], from)
					}
				}
			}()
			all, err := services(server.LocalAddr().String())(context.Background(), "x.example", 443)
			if (err != nil) != c.fails || len(all) > 0 {
				t.Errorf("%v (%v)", all, err)
			}
			server.Close()
			<-answered
		})
	}
}
