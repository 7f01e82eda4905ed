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
	// maxLeft is how many links of relays that go away a device keeps for their
	// visitors. One more is closed at once.
	maxLeft = 16
)

// leave lets a link live on whose relay goes away, until its last visitor has
// left. It does not trust the relay to close it: one that says again and again
// that it goes away would fill the device with links.
func (d *Device) leave(link *framing.Link) {
	defer d.left.Add(-1)
	if d.left.Add(1) > maxLeft {
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
func (d *Device) moveOn(link *framing.Link) {
	d.left.Add(1)
	defer d.left.Add(-1)
	d.goodbye(link, errMovedOn.Error())
}
