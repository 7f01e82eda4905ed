package gate

import (
	"context"
	"runtime"
)

// FillHashing takes all places in which passwords are looked at, until it is released.
func (s *Store) FillHashing() (release func()) {
	over := make(chan struct{})
	in := make(chan struct{})
	n := max(1, runtime.GOMAXPROCS(0)/2)
	for range n {
		go s.hashing.Do(context.Background(), func() {
			in <- struct{}{}
			<-over
		})
	}
	for range n {
		<-in
	}
	return func() { close(over) }
}

// EndBeforeWatch ends the session of a cookie when it has been read for a request, and
// reports whether that request is not let in.
func EndBeforeWatch(g *Gate, cookie string) bool {
	r := g.rules[0]
	s := r.open(cookie)
	if s == nil || g.store.sessions.end(g.name, s) != nil {
		return false
	}
	_, _, ok := g.store.sessions.watch(context.Background(), g, &running{name: g.name, rule: r.id, by: let{session: s}})
	return !ok
}
