package remote

import (
	"strings"
	"sync"
	"time"
)

const (
	// repeatFirst is how long the log is silent about attempts that fail for a
	// reason that it has told; each further silence is twice as long, up to
	// repeatMost.
	repeatFirst = time.Minute
	repeatMost  = time.Hour
	// maxReasons is how many different reasons of one outage are told at once.
	maxReasons = 8
)

// An outage decides what the log tells of something that fails, such as a link
// that is not up: how it began, each reason once, and now and then that it lasts.
// The zero value is ready.
type outage struct {
	mu      sync.Mutex
	began   time.Time
	told    []string // reasons
	silence time.Duration
	next    time.Time
}

// tells reports whether a failure is worth a line for people. WasUp says that a
// link was up until now: how it ended is told only if the outage begins with it.
func (o *outage) tells(why string, wasUp bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	first := o.began.IsZero()
	if first {
		o.began, o.silence, o.next = now, repeatFirst, now.Add(repeatFirst)
	}
	isNew := len(o.told) < maxReasons
	for _, t := range o.told {
		isNew = isNew && t != why
	}
	switch {
	case isNew && (first || !wasUp):
		o.told = append(o.told, why)
		return true
	case now.Before(o.next):
		return false
	}
	o.silence = min(2*o.silence, repeatMost)
	o.next = now.Add(o.silence)
	return true
}

// isOver reports whether there is no outage that the log may have been told of.
func (o *outage) isOver() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.began.IsZero()
}

// ends ends the outage and returns how long it has lasted, 0 if there was none.
func (o *outage) ends() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	var lasted time.Duration
	if !o.began.IsZero() {
		lasted = time.Since(o.began)
	}
	o.began, o.told = time.Time{}, nil
	return lasted
}

// reason is what an error says but for its numbers: ports and times differ
// though the reason is the same.
func reason(err error) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
