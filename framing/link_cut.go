package framing

import (
	"maps"
	"slices"
)

// CutStreams resets the streams of the link for whose header match says so, those
// on lanes too, and returns how many it has reset. It works on a link that is lost,
// too. match is called with no lock held.
func (l *Link) CutStreams(match func(Header) bool) (n int) {
	l.streams.mu.Lock()
	streams := slices.Collect(maps.Keys(l.streams.all))
	l.streams.mu.Unlock()
	for _, s := range streams {
		if match(s.header) {
			s.Reset()
			n++
		}
	}
	return n
}
