package remote

import (
	"testing"

	"keystay/framing"
	"keystay/internal/memconn"
)

// connected makes a link to a relay, in memory, and returns both its ends, which end with the
// test. What the remote asks is answered by a handler.
func connected(t *testing.T, h framing.Handler) (link, relay *framing.Link) {
	t.Helper()
	a, b := memconn.Pipe(0)
	made := make(chan *framing.Link, 1)
	go func() {
		relay, _, err := framing.Server(t.Context(), a)
		if err == nil {
			err = relay.Welcome(framing.Welcome{}, h)
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
	relay = <-made
	t.Cleanup(func() {
		link.Close()
		relay.Close()
	})
	return link, relay
}
