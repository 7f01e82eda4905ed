package raw_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish/raw"
)

// A service that answers with what it hears, for whoever connects with TLS.
func ExampleTarget() {
	t := new(testing.T)
	ca := testca.New(t)
	service, _ := net.Listen("tcp", "127.0.0.1:0")
	defer testnet.Accept(service, func(c net.Conn) { io.Copy(c, c) })()

	target := &raw.Target{Network: "tcp", Addresses: []string{service.Addr().String()}}
	ln := memconn.Listen(nil)
	go target.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ca.Issue("db.relay.net")}}))
	defer target.Close()

	c, _ := ln.Dial(context.Background())
	visitor := tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "db.relay.net"})
	io.WriteString(visitor, "hello")
	visitor.CloseWrite()
	b, err := io.ReadAll(visitor)
	fmt.Println(string(b), err)
	// Output: hello <nil>
}

func ExampleProtocols() {
	p := raw.Protocols{Web: true, Rules: [][]string{{"mqtt"}}}
	for _, offered := range [][]string{{"h2", "http/1.1"}, {"mqtt"}, nil} {
		protocol, _ := p.Choose(offered)
		fmt.Printf("%q: service %d\n", protocol, p.Service(protocol))
	}
	// Output:
	// "h2": service 0
	// "mqtt": service 1
	// "": service 0
}
