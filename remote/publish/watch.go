package publish

import (
	"context"
	"sync"
)

// Watch looks after the services of the routes until ctx ends: it does the checks of
// Health, and what Target.Watch does for the others. It takes up what Set changes.
func (s *Site) Watch(ctx context.Context) {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := make(map[any]context.CancelFunc) // by what is watched
	for {
		s.mu.Lock()
		wanted, changed := s.table.Load().watched(s.domain), s.changed
		s.mu.Unlock()
		for k, end := range running {
			if wanted[k] == nil {
				end()
				delete(running, k)
			}
		}
		for k, watch := range wanted {
			if running[k] == nil {
				one, end := context.WithCancel(ctx)
				running[k] = end
				watchers.Go(func() { watch(one) })
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// watched returns what is to be watched, each with what does it.
func (t *table) watched(domain string) map[any]func(context.Context) {
	all := make(map[any]func(context.Context))
	checked := make(map[*Target]bool)
	for _, r := range t.routes {
		if r.health != nil {
			all[r.health] = r.health.watch
			checked[r.Target] = true
		}
	}
	for _, r := range t.routes {
		if r.Target != nil && !checked[r.Target] {
			all[r.Target] = func(ctx context.Context) { r.Target.Watch(ctx, domain) }
		}
	}
	return all
}
