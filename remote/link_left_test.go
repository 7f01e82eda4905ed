package remote_test

import (
	"testing"

	"keystay/framing"
	"keystay/remote"
)

// A relay that says again and again that it goes away, and closes no link, makes a
// device keep so many links and no more.
func TestLinksOfRelaysThatGoAwayAreBounded(t *testing.T) {
	r := newRelay(t)
	r.listen(r.config())
	var links []*relayLink
	for range remote.MaxLeft + 8 {
		link := r.next()
		links = append(links, link)
		link.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayTakeover})
	}
	open := 0
	for _, link := range links[:len(links)-2] { // the last ones may be about to end
		if link.Err() == nil {
			open++
		}
	}
	if open > remote.MaxLeft {
		t.Errorf("%d links are open", open)
	}
	if links[0].Err() != nil {
		t.Errorf("the first link has ended: %v", links[0].Err())
	}
}
