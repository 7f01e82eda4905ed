package remote

import (
	"context"
	"sync"
	"time"

	"keystay/framing"
)

// laneTokens are tokens for lanes of one link. A relay takes few requests for
// them, each for up to framing.MaxSpareLanes: those who need one at a time ask
// together.
type laneTokens struct {
	asking chan struct{} // holds one element while somebody asks

	mu     sync.Mutex
	wanted int // who waits for a token
	stock  []framing.LaneToken
	until  time.Time // when the stock is too old
}

func newLaneTokens() *laneTokens { return &laneTokens{asking: make(chan struct{}, 1)} }

// get returns a token, which ask gets with others where there is none left. It
// waits while another get asks.
func (t *laneTokens) get(ctx context.Context, ask func(ctx context.Context, n int) ([]framing.LaneToken, error)) (token framing.LaneToken, err error) {
	t.want(1)
	select {
	case t.asking <- struct{}{}:
	case <-ctx.Done():
		t.want(-1)
		return token, ctx.Err()
	}
	defer func() {
		t.want(-1) // first: whoever asks next is not to ask for this one too
		<-t.asking
	}()
	stock, wanted := t.left()
	if len(stock) == 0 {
		if stock, err = ask(ctx, wanted); err != nil {
			return token, err
		}
		t.mu.Lock()
		t.until = time.Now().Add(framing.TokenTime / 2) // the rest is for dialling
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stock = stock[1:]
	return stock[0], nil
}

func (t *laneTokens) want(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted += n
}

// left returns the tokens that are left and good, and how many are wanted.
func (t *laneTokens) left() ([]framing.LaneToken, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().After(t.until) {
		t.stock = nil
	}
	return t.stock, t.wanted
}
