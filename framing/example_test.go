package framing_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/netip"

	"keystay/framing"
)

// A remote links to its relay and serves the visitors of one name.
func ExampleClient() {
	serve := func(ctx context.Context, key ed25519.PrivateKey, run framing.Run) error {
		conn, err := tls.Dial("tcp", "relay.net:443", &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{framing.Protocol},
		})
		if err != nil {
			return err
		}
		cs := conn.ConnectionState()
		hello := framing.Hello{Run: run}
		if err := hello.Sign(key, &cs, "relay.net"); err != nil {
			conn.Close()
			return err
		}
		link, _, err := framing.Client(ctx, conn, hello, framing.Handler{})
		if err != nil {
			return err // a *framing.Refusal when the relay says no
		}
		defer link.Close()
		if _, err := link.Claim(ctx, framing.Claim{Name: "xyz.relay.net"}); err != nil {
			return err // a *framing.Denial when the relay says no
		}
		for {
			stream, err := link.Accept()
			if err != nil {
				return err
			}
			go io.Copy(stream, stream)
		}
	}
	_ = serve // needs a relay
}

// A relay lets a remote in and passes a visitor's first bytes to it.
func ExampleServer() {
	serve := func(ctx context.Context, conn *tls.Conn) error {
		link, hello, err := framing.Server(ctx, conn)
		if err != nil {
			return err
		}
		cs := conn.ConnectionState()
		if hello.Verify(&cs, "relay.net") != nil {
			return link.Refuse(framing.Refusal{Code: framing.RefusedProof, Text: "the proof does not hold"})
		}
		if err := link.Welcome(framing.Welcome{PublicPort: 443}, framing.Handler{
			Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
				log.Printf("%x serves %s", hello.Key, c.Name)
				return framing.Claimed{}, nil
			},
		}); err != nil {
			return err
		}
		defer link.Close()
		stream, err := link.Open(framing.Header{
			Name:   "xyz.relay.net",
			Source: netip.MustParseAddrPort("192.0.2.7:4711"),
			Dest:   netip.MustParseAddrPort("203.0.113.1:443"),
		}, []byte("the visitor's ClientHello"))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, stream)
		return err
	}
	_ = serve // needs a remote
}

func ExampleDenial() {
	err := error(&framing.Denial{Name: "xyz.relay.net", Code: framing.DeniedTaken, Text: "it belongs to another device"})
	fmt.Println(err)
	// Output: xyz.relay.net: it belongs to another device
}
