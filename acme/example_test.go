package acme_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"

	"keystay/acme"
)

// A program that is brought connections by some other means than a port of its
// own keeps a certificate for its name.
func ExampleKeeper() {
	keeper, err := acme.New(acme.Config{
		Dir:      "/var/lib/example/acme",
		NoHTTP01: true,
		Ready: func(ctx context.Context, name string) error {
			return ctx.Err() // here: wait until name leads to us
		},
		Notify: func(ev acme.Event) { log.Println(ev.Name, ev.Kind, ev.Err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer keeper.Close()
	if err := keeper.Manage("device.relay.net"); err != nil {
		log.Fatal(err)
	}

	config := keeper.TLSConfig()
	serve := func(c net.Conn) {
		defer c.Close()
		conn := tls.Server(c, config)
		if err := conn.Handshake(); err != nil || conn.ConnectionState().NegotiatedProtocol == acme.ALPN {
			return // a validation ends with its handshake
		}
		fmt.Fprintln(conn, "hello")
	}
	_ = serve
}

func ExampleLoadFiles() {
	files, err := acme.LoadFiles("cert.pem", "key.pem", "")
	if err != nil {
		log.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", files.TLSConfig())
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
}
