package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/relay"
)

// BenchmarkHop takes visitors to another node over loopback, up to its yes.
func BenchmarkHop(b *testing.B) {
	r := newRig(b)
	near, far := r.credentials("a"), r.credentials("b")
	hops := &hopServer{serve: func(c duplex.Conn, _ relay.Hop, yes func(relay.Host) error) error {
		err := yes(someHost)
		c.Close()
		return err
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				tc := tls.Server(&framing.TLSRecordConn{Conn: c}, far.server(ProtocolHop, false))
				if tc.Handshake() == nil {
					hops.serveConn(machine{}, tc)
				} else {
					c.Close()
				}
			})
		}
	})
	pools := &hopPools{dial: func(ctx context.Context, node string) (*tls.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return nil, err
		}
		tc := tls.Client(&framing.TLSRecordConn{Conn: c}, near.client(node, ProtocolHop))
		return tc, tc.HandshakeContext(ctx)
	}}
	pools.up("b")
	b.ReportAllocs()
	for b.Loop() {
		c, _, err := pools.hop(b.Context(), "b", someHop)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
	b.StopTimer()
	pools.end()
	hops.end()
	ln.Close()
	wg.Wait()
}
