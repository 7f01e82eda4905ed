package remote

import (
	"time"

	"keystay/framing"
)

const (
	// leftTime is how long a link without visitors stays whose relay has said that it
	// goes away. Visitors that the relay had sent on before are there by then, and an
	// honest relay closes such a link itself.
	leftTime = time.Minute
	// maxLeft is how many links of relays that go away, or that have taken all names
	// back, a device keeps for their visitors. Each relay has a part of that, and at the
	// least one more than it has links: all of them, as after a new key, and one that has
	// moved to another node. What comes beyond is closed at once.
	maxLeft = 16
)

// partOfLeft is the part of the way in maxLeft: what one relay leaves behind takes no place of
// another one's visitors.
func (w *way) partOfLeft() int32 {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return int32(max(w.d.linksEach()+1, maxLeft/max(1, len(w.d.ways))))
}

// leave lets a link live on whose relay goes away, until its last visitor has
// left. It does not trust the relay to close it: one that says again and again
// that it goes away would fill the device with links.
func (w *way) leave(link *framing.Link) {
	d := w.d
	defer w.left.Add(-1)
	if w.left.Add(1) > w.partOfLeft() {
		link.Close()
		return
	}
	timer := time.NewTimer(leftTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-link.Done():
		return
	case <-d.cut.Done():
		return
	}
	if link.WaitIdle(d.cut) == nil {
		link.Close()
	}
}

// moveOn leaves a link in whose place another one has the names, in good order. It counts
// as one of those whose relay goes away, so that the device does not fill with them.
func (w *way) moveOn(link *framing.Link) {
	w.left.Add(1)
	defer w.left.Add(-1)
	w.d.goodbye(link, errMovedOn.Error())
}

// leaveNameless leaves a link whose relay has taken back all names that it had, in good
// order: visitors of them may be there, or on their way. A relay that gives names and takes
// them back again and again must not fill the device with links, either.
func (w *way) leaveNameless(link *framing.Link) {
	defer w.left.Add(-1)
	if w.left.Add(1) > w.partOfLeft() {
		link.Close()
		return
	}
	w.d.goodbye(link, errNoName.Error())
}
