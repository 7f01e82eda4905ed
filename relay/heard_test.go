package relay_test

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/testnet"
)

// Whatever a peer sends that is no data, TLS keeps little of it: a message of a
// handshake that goes on for ever ends the connection, in the handshake and after
// it.
func TestEndlessHandshakeMessageEndsTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		proto  string
		shakes bool // in the handshake
		hello  bool // of a link
		n      int  // bytes that are too many
	}{
		"a link's handshake":         {framing.Protocol, true, false, 12 << 10},
		"a link before its HELLO":    {framing.Protocol, false, false, 8 << 10},
		"a link":                     {framing.Protocol, false, true, 24 << 10},
		"a lane":                     {framing.LaneProtocol, false, false, 8 << 10},
		"the site's handshake":       {"http/1.1", true, false, 12 << 10},
		"the site, between requests": {"http/1.1", false, false, 24 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				conn := &testnet.RecordConn{Conn: r.dial(), Handshakes: c.shakes}
				tc := tls.Client(conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{c.proto}, KeyLogWriter: &conn.Keys})
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				if c.hello {
					cs := tc.ConnectionState()
					id := newIdentity(t)
					hello := framing.Hello{Run: id.run}
					if err := hello.Sign(id.key, &cs, zone); err != nil {
						t.Fatal(err)
					}
					link, _, err := framing.Client(t.Context(), tc, hello, framing.Handler{})
					if err != nil {
						t.Fatal(err)
					}
					defer link.Close()
				}
				synctest.Wait()
				begin := time.Now()
				go conn.Conn.Write(conn.Endless(t, c.n))
				synctest.Wait()
				if _, err := conn.Conn.Write([]byte{0}); err == nil || !time.Now().Equal(begin) {
					t.Errorf("after %v the connection takes more: %v", time.Since(begin), err)
				}
				conn.Conn.Close()
				r.close()
			})
		})
	}
}
