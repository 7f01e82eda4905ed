package remote_test

import (
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// A relay that says again and again that it goes away, and closes no link, makes a
// device keep so many links and no more.
func TestLinksOfRelaysThatGoAwayAreBounded(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	var links []*relayLink
	for range remote.MaxLeft + 8 {
		link := r.next()
		links = append(links, link)
		link.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayTakeover})
		remote.WakeUp(ln) // for it is left alone longer and longer
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

// Nor does one that gives names and takes them back again and again, with a visitor each time.
func TestLinksOfRelaysThatTakeNamesBackAreBounded(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	accepting(ln)
	var links []*relayLink
	for range remote.MaxLeft + 8 {
		link := r.next()
		links = append(links, link)
		link.visitor()
		link.Revoke(framing.Denial{Name: domain, Code: framing.DeniedLimit})
		select {
		case <-link.goAway:
		case <-link.Done():
		}
		remote.WakeUp(ln)
	}
	open := 0
	for _, link := range links[:len(links)-2] {
		if link.Err() == nil {
			open++
		}
	}
	if open > remote.MaxLeft {
		t.Errorf("%d links are open", open)
	}
}

// What one relay leaves behind takes no place of another one's: its links live on for their
// visitors when it goes away, too.
func TestLinksOfOneRelayThatGoesAwayCutNoneOfAnother(t *testing.T) {
	a, b, d, _ := twoRelays(t)
	ln := a.serveNames(d, domain)[0]
	accepting(ln)
	link := a.next()
	for range remote.MaxLeft + 1 {
		hostile := b.next()
		hostile.open(domain, framing.KindTLS)
		hostile.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayTakeover})
		remote.WakeUp(ln)
	}
	link.visitor()
	link.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayTakeover})
	a.next()
	select {
	case <-link.Done():
		t.Errorf("the link has ended with its visitor: %v", link.Err())
	case <-time.After(time.Second):
	}
}
