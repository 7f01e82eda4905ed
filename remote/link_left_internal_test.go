package remote

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A link whose relay goes away is closed when it has no visitor, though the relay
// does not close it, and not while it has one.
func TestLinkOfARelayThatGoesAwayIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		made := make(chan *framing.Link, 1)
		go func() {
			relay, _, err := framing.Server(t.Context(), a)
			if err == nil {
				err = relay.Welcome(framing.Welcome{}, framing.Handler{})
			}
			if err != nil {
				t.Error(err)
			}
			made <- relay
		}()
		link, _, err := framing.Client(t.Context(), b, framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64)}, framing.Handler{})
		if err != nil {
			t.Fatal(err)
		}
		relay := <-made
		defer relay.Close()
		d := &Device{}
		w := &way{d: d}
		d.cut, d.cutAll = context.WithCancel(t.Context())
		defer d.cutAll()
		visitor, err := relay.Open(framing.Header{Name: "a.relay.test", Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := link.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go w.leave(link)
		time.Sleep(2 * leftTime)
		if link.Err() != nil {
			t.Errorf("it has ended with a visitor: %v", link.Err())
		}
		visitor.Reset()
		stream.Close()
		time.Sleep(time.Second)
		if link.Err() == nil || w.left.Load() != 0 {
			t.Error("it is open without a visitor")
		}
	})
}
