// Package batch makes together what many callers ask for at the same time. It is for what
// costs about the same each time, however much is made, such as a transaction that waits for
// a disk.
package batch

import (
	"errors"
	"sync"
)

// ErrPanic is the error of entries that were being made when the function that makes them
// panicked. Whether they are made is not known.
var ErrPanic = errors.New("a mistake in this program ended it while it was being made")

// A Queue has what callers ask for until it is made. The zero value is ready. It has no
// goroutine of its own: one of the callers makes what is in it, and then the next does.
type Queue[F any] struct {
	mu   sync.Mutex
	list []*Entry[F]
	busy bool // a caller makes entries, or is about to
}

// An Entry is what one caller asks for.
type Entry[F any] struct {
	Make F     // how it is made
	Err  error // what the caller is told; nil at first

	lead chan struct{} // closed when its caller is to make what is in the queue
	done chan struct{} // closed when it is made
}

// Do asks for f, and returns the error of its entry once it is made. MakeAll is called by one
// caller at a time, with the oldest entries: most of them at the most, and 1 at the least.
// It sets their errors. Where it panics, so does Do for the caller that called it; the
// others that are made with it get [ErrPanic], and the queue goes on.
func (q *Queue[F]) Do(f F, most int, makeAll func([]*Entry[F])) error {
	e := &Entry[F]{Make: f, lead: make(chan struct{}), done: make(chan struct{})}
	q.mu.Lock()
	q.list = append(q.list, e)
	first := !q.busy
	q.busy = true
	q.mu.Unlock()
	if !first {
		select {
		case <-e.done:
			return e.Err
		case <-e.lead:
		}
	}
	q.mu.Lock()
	list := q.list[:min(len(q.list), most)] // e is the first
	q.list = q.list[len(list):]
	q.mu.Unlock()
	ended := false
	defer func() {
		for _, e := range list {
			if !ended {
				e.Err = ErrPanic
			}
			close(e.done)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.busy = len(q.list) > 0; q.busy {
			close(q.list[0].lead)
		}
	}()
	makeAll(list)
	ended = true
	return e.Err
}
