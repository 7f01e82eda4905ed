package duplex

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// errRests is what pump returns when the direction waits in Options.Rest, or goes on from
// there already: nothing of it may be used any more.
var errRests = errors.New("duplex: rests")

// doze sees to it that a wait which is about to begin ends once it is long enough.
func (d *direction) doze(src *net.TCPConn) {
	if d.rests && !d.dozing {
		d.dozing = true
		src.SetReadDeadline(time.Now().Add(max(0, d.options.Rest.after-d.untouched())))
	}
}

// stayAwake ends what doze has begun.
func (d *direction) stayAwake(src *net.TCPConn) {
	if d.dozing {
		d.dozing = false
		src.SetReadDeadline(time.Time{})
	}
}

// dozed reports whether a wait has ended because of doze.
func (d *direction) dozed(src *net.TCPConn, err error) bool {
	if !d.dozing || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.stayAwake(src)
	return true
}

// goesToRest has the direction rest, if it is time for that and there is room.
func (d *direction) goesToRest(raw syscall.RawConn) bool {
	if d.untouched() < d.options.Rest.after {
		return false
	}
	if d.options.Rest.take(d, raw) {
		return true
	}
	d.rests = false
	return false
}

// resume goes on with a direction that has rested.
func (d *direction) resume() {
	back := &d.ba
	if d == back {
		back = &d.ab
	}
	d.run(d, back)
}
