package proxydial_test

import (
	"context"
	"net"
	"net/url"

	"keystay/internal/proxydial"
)

// A connection through a SOCKS5 proxy, which looks the name up.
func ExampleProxy() {
	dial := func(ctx context.Context) (net.Conn, error) {
		p := &proxydial.Proxy{URL: &url.URL{Scheme: "socks5h", Host: "127.0.0.1:1080"}}
		return p.Dial(ctx, "relay.net:443")
	}
	_ = dial
}
