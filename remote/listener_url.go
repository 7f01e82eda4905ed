package remote

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"keystay/internal/hint"
)

// httpsPort is where visitors connect where no relay says something else.
const httpsPort = 443

// maxPorts is how many of the ports are kept that relays of a name have said.
const maxPorts = 8

// saidPorts are where visitors of a name come, as its relays say.
type saidPorts struct {
	by  map[*way]int // said last by a relay that has given the name
	all []int        // each once: the first one, and then the one that was said last at the end
	url int          // that of the URL as it was last; 0 until a relay has given the name

	moves sync.Mutex // held while the log is told of a move; taken before Device.mu
	told  told       // of the URL
}

// note notes that the relay of a way has said a port with the name.
func (s *saidPorts) note(w *way, port int) {
	if port == 0 {
		return
	}
	if s.by == nil {
		s.by = make(map[*way]int)
	}
	s.by[w] = port
	switch i := slices.Index(s.all, port); {
	case i == 0:
		return
	case i > 0:
		s.all = slices.Delete(s.all, i, i+1)
	case len(s.all) == maxPorts:
		s.all = slices.Delete(s.all, 1, 2)
	}
	s.all = append(s.all, port)
}

// URL is the public address, with the port where it is not 443. The port is
// known once a relay has given the name: of several relays that of the first one that has.
// A TCP port's begins with tcp://.
func (l *Listener) URL() string {
	if l.isPort() {
		return "tcp://" + l.publicName()
	}
	port, _ := l.publicPort()
	return l.urlAt(port)
}

// urlAt is the URL of a name with this port.
func (l *Listener) urlAt(port int) string {
	if port == httpsPort {
		return "https://" + l.domain
	}
	return "https://" + net.JoinHostPort(l.domain, strconv.Itoa(port))
}

// Ports returns where visitors of the name may come: the port that a relay has said first
// since the start, those that its relays say now, and the last few that they have said
// between. Visitors may still have the URL of each of them.
func (l *Listener) Ports() (ports []int) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	first := min(len(l.said.all), 1)
	all := slices.Clone(l.said.all[:first])
	for _, w := range l.waysLocked() {
		all = append(all, l.said.by[w])
	}
	for _, p := range append(all, l.said.all[first:]...) {
		if p != 0 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}

// publicPort is Device.portLocked.
func (l *Listener) publicPort() (port int, same bool) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return l.d.portLocked(l)
}

// waysLocked returns the ways that are to claim the name, in the order of its relays.
// Device.mu is held.
func (l *Listener) waysLocked() (ways []*way) {
	for _, w := range l.d.ways {
		if _, wants := w.wants[l]; wants {
			ways = append(ways, w)
		}
	}
	slices.SortStableFunc(ways, func(a, b *way) int { return cmp.Compare(l.place(a.candidates[0]), l.place(b.candidates[0])) })
	return ways
}

// portLocked is where visitors connect to the first relay of a listener's name that has given
// it, or else has said so, and whether all its relays say the same: what one says is not to be
// believed of the others, and of those of other names not at all. Device.mu is held.
func (d *Device) portLocked(l *Listener) (port int, same bool) {
	given, reached := 0, 0
	same = true
	for _, w := range l.waysLocked() {
		given = cmp.Or(given, l.said.by[w])
		if w.port != 0 {
			reached = cmp.Or(reached, w.port)
			same = same && w.port == reached
		}
	}
	return cmp.Or(given, reached, l.said.url, httpsPort), same
}

// noteURL tells where the port of the name's URL has moved: whoever has the old URL goes where
// the relay may do as it likes. One that moves it again and again is told rarely, and where it
// is in the end.
func (l *Listener) noteURL() {
	s := &l.said
	s.moves.Lock()
	defer s.moves.Unlock()
	l.d.mu.Lock()
	if len(s.by) > 0 {
		s.url, _ = l.d.portLocked(l)
	}
	port := s.url
	l.d.mu.Unlock()
	if port == 0 {
		return
	}
	is := standing{given: true, why: l.urlAt(port)}
	if !s.told.last.given { // the first one
		s.told.last = is
	}
	s.told.setLocked(is, func() {
		l.d.log.Warn("the URL of a name has moved", "name", l.domain, "from", s.told.last.why, "to", is.why, hint.Attr(hint.URLMoved.Do))
	}, &s.moves, func(wait time.Duration, do func()) { l.d.after(l.ctx, wait, do) })
}
