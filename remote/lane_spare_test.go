package remote

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A relay that never answers does not hold who asks it for a lane as long as
// the link lives.
func TestUnansweredLanesWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		done := make(chan struct{})
		go func() {
			relay, _, err := framing.Server(context.Background(), a)
			if err != nil {
				t.Error(err)
				return
			}
			relay.Welcome(framing.Welcome{Capabilities: framing.CapabilityLanes}, framing.Handler{
				LaneTokens: func(int) []framing.LaneToken { <-done; return nil },
			})
			<-relay.Done()
		}()
		h := framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64), Capabilities: framing.CapabilityLanes}
		link, _, err := framing.Client(t.Context(), b, h, framing.Handler{})
		if err != nil {
			t.Fatal(err)
		}
		n := lanes{tokens: newLaneTokens()}
		if _, err := n.open(t.Context(), link); !errors.Is(err, framing.ErrNoLanes) || link.Err() != nil {
			t.Errorf("got %v on a link that ended with %v, want %v", err, link.Err(), framing.ErrNoLanes)
		}
		close(done)
		link.Close()
	})
}
