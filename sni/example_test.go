package sni_test

import (
	"crypto/tls"
	"fmt"
	"net"

	"keystay/sni"
)

// A relay's way with a new connection: read the hello, make a name of what it
// asks for, and refuse or pass on.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	visitor := make(chan error)
	go func() {
		_, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: "XYZ.relay.test", NextProtos: []string{"h2"}})
		visitor <- err
	}()

	c, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := sni.Read(c, make([]byte, 4096))
	if err != nil {
		fmt.Println(err)
		c.Close()
		return
	}
	name, err := h.Name()
	fmt.Println(name, err, h.OffersALPN("h2"), h.OffersALPN("acme-tls/1"))

	// Nobody serves that name.
	go sni.Refuse(c.(*net.TCPConn), sni.AlertUnrecognizedName)
	fmt.Println("visitor:", <-visitor)

	// Output:
	// xyz.relay.test <nil> true false
	// visitor: remote error: tls: unrecognized name
}
