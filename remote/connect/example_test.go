package connect_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/connect"
)

// A service that speaks no TLS by itself is reached by its public name.
func ExampleDialer() {
	ca, ln := testca.New(new(testing.T)), memconn.Listen(nil)
	defer ln.Close()
	go func() {
		c, _ := ln.Accept()
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.Issue("box.relay.net")}})
		fmt.Fprintln(tc, "SSH-2.0-OpenSSH_9.2")
		tc.Close()
	}()

	d := &connect.Dialer{
		Name: "box.relay.net", Roots: ca.Pool(),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return ln.Dial(ctx) },
	}
	c, err := d.Connect(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	greeting, err := io.ReadAll(c)
	fmt.Printf("%s %v", greeting, err)
	// Output:
	// SSH-2.0-OpenSSH_9.2
	//  <nil>
}
